package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

// Errors of CheckProof.
var (
	// ErrProof: the proof does not prove. 400 invalid_dpop_proof at the authority,
	// 401 at a resource.
	ErrProof = errors.New("oauth: DPoP proof refused")
	// ErrProofNonce: it is good but for a missing or old nonce: answer a new one
	// (RFC 9449 §8, §9).
	ErrProofNonce = errors.New("oauth: DPoP proof needs a current nonce")
)

// maxProof caps a proof in bytes, maxProofID its jti.
const (
	maxProof   = 8 << 10
	maxProofID = 256
)

// ProofCheck is what a DPoP proof is held against (RFC 9449 §4.3).
type ProofCheck struct {
	// Method and URI are the request's; query and fragment are ignored.
	Method, URI string
	Now         time.Time
	// Window is how far iat may lie in the past, and Skew how far in the future; 0
	// is 60 s and 5 s.
	Window, Skew time.Duration
	// Token is the access token presented along, whose hash must be in ath; "" at
	// the authority's own endpoints.
	Token string
	// JKT is the thumbprint that the key must have; "" accepts any key.
	JKT string
	// Nonce reports whether a nonce is current; nil asks for none.
	Nonce func(nonce string) bool
}

// Proof is a checked proof. The caller must see to it that ID is used once, until
// Expires, in the space of JKT.
type Proof struct {
	ID  string
	JKT string
	// Expires is the Unix second after which the proof is refused for its age.
	Expires int64
}

// CheckProof verifies one DPoP proof: typ, an asymmetric algorithm, the key in
// its own header (the one place where that is right) and the signature under it,
// htm, htu, iat, jti, ath, nonce.
func CheckProof(text string, want ProofCheck) (Proof, error) {
	if len(text) > maxProof {
		return Proof{}, ErrProof
	}
	c, err := jose.ParseProof([]byte(text))
	if err != nil || c.Header.Type != "dpop+jwt" || c.Header.Alg.Symmetric() {
		return Proof{}, ErrProof
	}
	key, err := jose.ParseKey([]byte(c.Header.JWK), c.Header.Alg.String())
	if err != nil || key.Check(&c) != nil {
		return Proof{}, ErrProof
	}
	claims, err := readProof(c.Payload)
	if err != nil {
		return Proof{}, ErrProof
	}
	p := Proof{ID: claims.jti, JKT: key.Thumbprint()}
	if err = claims.check(&want); err != nil {
		return Proof{}, err
	}
	if want.JKT != "" && want.JKT != p.JKT {
		return Proof{}, ErrProof
	}
	p.Expires = claims.iat + int64((want.window()+time.Second-1)/time.Second)
	if want.Nonce != nil && !want.Nonce(claims.nonce) {
		return Proof{}, ErrProofNonce
	}
	return p, nil
}

func (w *ProofCheck) window() time.Duration {
	if w.Window == 0 {
		return time.Minute
	}
	return w.Window
}

func (w *ProofCheck) skew() time.Duration {
	if w.Skew == 0 {
		return 5 * time.Second
	}
	return w.Skew
}

type proofClaims struct {
	jti, htm, htu, ath, nonce string
	iat                       int64
}

func readProof(payload string) (p proofClaims, err error) {
	s := jose.Scan(payload)
	for s.Next() {
		ok := true
		switch v := s.Value(); s.Name() {
		case "jti":
			p.jti, ok = v.Str()
		case "htm":
			p.htm, ok = v.Str()
		case "htu":
			p.htu, ok = v.Str()
		case "ath":
			p.ath, ok = v.Str()
		case "nonce":
			p.nonce, ok = v.Str()
		case "iat":
			p.iat, _, ok = v.Date()
		}
		if !ok {
			err = ErrProof
		}
	}
	if s.Err() != nil {
		err = s.Err()
	}
	return p, err
}

func (p *proofClaims) check(want *ProofCheck) error {
	issued := time.Unix(p.iat, 0)
	switch {
	case p.jti == "" || len(p.jti) > maxProofID,
		p.htm == "" || p.htm != want.Method,
		!sameURI(p.htu, want.URI),
		issued.After(want.Now.Add(want.skew())),
		want.Now.Sub(issued) > want.window():
		return ErrProof
	}
	if want.Token == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(want.Token))
	if subtle.ConstantTimeCompare([]byte(p.ath), []byte(jose.Encode(sum[:]))) != 1 {
		return ErrProof
	}
	return nil
}

// sameURI compares after the normalisation of RFC 3986 §6.2.2 and §6.2.3 (RFC
// 9449 §4.3), without query and fragment. Dot segments are not resolved but
// refused.
func sameURI(a, b string) bool {
	x, okX := normalURI(a)
	y, okY := normalURI(b)
	return okX && okY && x == y
}

func normalURI(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := normalPath(u.EscapedPath())
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return "", false
		}
	}
	return scheme + "://" + strings.TrimSuffix(host, ":") + path, true
}

// normalPath decodes escapes of unreserved characters and writes the others with
// capital digits.
func normalPath(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "%") {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b = append(b, path[i])
			continue
		}
		if raw, err := url.PathUnescape(path[i : i+3]); err == nil && unreserved(raw[0]) {
			b = append(b, raw[0])
		} else {
			b = append(b, strings.ToUpper(path[i:i+3])...)
		}
		i += 2
	}
	return string(b)
}

// X5T returns the base64url SHA-256 thumbprint of a certificate in DER (RFC 8705
// §3.1).
func X5T(der []byte) string {
	sum := sha256.Sum256(der)
	return jose.Encode(sum[:])
}
