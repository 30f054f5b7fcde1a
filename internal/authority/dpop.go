package authority

import (
	"crypto/hmac"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/oauth"
)

// nonceTurn is how long one DPoP nonce is handed out; the one before is still
// taken (RFC 9449 §8).
const nonceTurn = 2 * time.Minute

// proofs checks the DPoP proof and the certificate of a request at one of our
// endpoints and returns what tokens shall be bound to.
func (a *Authority) proofs(w http.ResponseWriter, r *http.Request, c *Client, once *[]ledger.Once) (mintmark.Binding, error) {
	var b mintmark.Binding
	jkt, err := a.proof(w, r, a.origin, "", once)
	if err != nil {
		return b, err
	}
	b.JKT = jkt
	if cert := peerCertificate(r); cert != nil && jkt == "" &&
		(c.Method() == AuthTLS || c.Method() == AuthSelfSigned || c.Bound == "mtls") {
		b.X5T = thumbprint(cert)
	}
	switch {
	case c.Bound == "dpop" && b.JKT == "":
		return b, refuse("invalid_dpop_proof", "the client's tokens must be bound: send a DPoP proof")
	case c.Bound == "mtls" && b.X5T == "":
		return b, refuse("invalid_request", "the client's tokens must be bound: present its certificate")
	}
	return b, nil
}

// proof checks the DPoP header, if there is one, and returns the key's thumbprint
// (RFC 9449 §5). base is the server's URL as clients know it, access the token that
// the proof must be bound to (ath), if any.
func (a *Authority) proof(w http.ResponseWriter, r *http.Request, base, access string, once *[]ledger.Once) (string, error) {
	headers := r.Header.Values("DPoP")
	if len(headers) == 0 {
		return "", nil
	}
	w.Header().Set("DPoP-Nonce", a.nonce(0))
	if len(headers) > 1 {
		return "", refuse("invalid_dpop_proof", "more than one DPoP proof")
	}
	want := oauth.ProofCheck{Method: r.Method, URI: base + requested(r), Now: a.d.Now(), Token: access}
	if a.cfg.DPoPNonce {
		want.Nonce = a.nonceOK
	}
	p, err := oauth.CheckProof(headers[0], want)
	switch {
	case errors.Is(err, oauth.ErrProofNonce):
		return "", refuse("use_dpop_nonce", "put the nonce of this answer into the proof")
	case err != nil:
		return "", refuse("invalid_dpop_proof", "the DPoP proof is not valid")
	}
	*once = append(*once, ledger.Once{Space: spaceDPoP, Key: p.JKT + "\x00" + p.ID, Expires: time.Unix(p.Expires, 0).Add(time.Second)})
	return p.JKT, nil
}

// requested is the path as the client sent it: routers on the way here may have
// changed r.URL.
func requested(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return u.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// nonce returns the nonce of this turn or of turns ago: a turn's number under a
// MAC, so that nothing is kept.
func (a *Authority) nonce(ago int64) string {
	turn := a.d.Now().Unix()/int64(nonceTurn/time.Second) - ago
	return base64.RawURLEncoding.EncodeToString(a.mac("dpop-nonce", strconv.FormatInt(turn, 10))[:18])
}

func (a *Authority) nonceOK(s string) bool {
	return hmac.Equal([]byte(s), []byte(a.nonce(0))) || hmac.Equal([]byte(s), []byte(a.nonce(1)))
}

func thumbprint(cert *x509.Certificate) string { return oauth.X5T(cert.Raw) }
