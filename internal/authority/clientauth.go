package authority

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/oauth"
)

// Spaces of single-use marks.
const (
	spaceAssertion = "assertion"
	spaceDPoP      = "dpop"
)

// skew allowed in assertions and proofs of others.
const skew = 30 * time.Second

// authenticated is a client that proved itself, and what must be spent with it.
type authenticated struct {
	client *Client
	once   []ledger.Once
}

// claimed is how a request says who its client is.
type claimed struct {
	id        mintmark.ClientID
	method    string
	secret    string
	assertion *oauth.Assertion
}

// authenticate finds and checks the client (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705
// §2). A client uses exactly the method it is registered for, and one only.
// Failures are counted per client and address, and refused unread past a limit.
func (a *Authority) authenticate(r *http.Request, f form) (authenticated, error) {
	who, err := a.claim(r, f)
	if err != nil {
		return authenticated{}, err
	}
	now := a.d.Now()
	key := "client\x00" + string(who.id) + "\x00" + a.address(r)
	if a.failures.Spent(key, now) {
		return authenticated{}, refuseWith(http.StatusTooManyRequests, "invalid_client", "too many failed attempts; wait a little")
	}
	out, err := a.prove(r, who)
	if errors.Is(err, errClient) {
		a.failures.Take(key, now)
	}
	return out, err
}

// claim reads who a request says it comes from.
func (a *Authority) claim(r *http.Request, f form) (claimed, error) {
	who := claimed{id: mintmark.ClientID(f.get("client_id")), method: AuthNone}
	methods := 0
	if auth := r.Header.Values("Authorization"); len(auth) > 0 {
		if len(auth) > 1 {
			return who, refuse("invalid_request", "more than one Authorization header")
		}
		scheme, token, err := oauth.ParseAuthorization(auth)
		if err != nil || scheme != oauth.Basic {
			return who, errClient
		}
		id, secret, err := oauth.ParseBasic(token)
		if err != nil {
			return who, errClient
		}
		if who.id != "" && who.id != mintmark.ClientID(id) {
			return who, refuse("invalid_request", "client_id differs from the Authorization header")
		}
		who.id, who.secret, who.method = mintmark.ClientID(id), secret, AuthBasic
		methods++
	}
	if s := f.get("client_secret"); s != "" {
		who.secret, who.method = s, AuthPost
		methods++
	}
	if s := f.get("client_assertion"); s != "" {
		if f.get("client_assertion_type") != oauth.ClientAssertionType {
			return who, refuse("invalid_request", "client_assertion_type is not known")
		}
		as, err := oauth.ParseAssertion(s)
		if err != nil || who.id != "" && string(who.id) != as.Claims.Subject {
			return who, errClient
		}
		who.id, who.assertion, who.method = mintmark.ClientID(as.Claims.Subject), &as, AuthPrivateKeyJWT
		methods++
	}
	if methods > 1 {
		return who, refuse("invalid_request", "more than one way of client authentication")
	}
	if who.id == "" {
		return who, errClient
	}
	return who, nil
}

func (a *Authority) prove(r *http.Request, who claimed) (authenticated, error) {
	c, err := a.client(r.Context(), who.id)
	if err != nil {
		return authenticated{}, err
	}
	out := authenticated{client: c}
	method := c.Method()
	if (method == AuthTLS || method == AuthSelfSigned) && who.method == AuthNone {
		who.method = method
	}
	if method == AuthBasic && who.method == AuthPost {
		who.method = AuthBasic // one secret; where it stands makes no difference
	} else if method == AuthPost && who.method == AuthBasic {
		who.method = AuthPost
	}
	if who.method != method {
		return authenticated{}, errClient
	}
	ok := false
	switch method {
	case AuthNone:
		ok = true
	case AuthBasic, AuthPost:
		ok = a.secretMatches(c, who.secret)
	case AuthPrivateKeyJWT:
		var once ledger.Once
		if once, ok = a.assertionMatches(c, who.assertion); ok {
			out.once = append(out.once, once)
		}
	case AuthTLS, AuthSelfSigned:
		ok = certificateMatches(c, r)
	}
	if !ok {
		return authenticated{}, errClient
	}
	return out, nil
}

// secretMatches compares with every accepted secret, in constant time each.
func (a *Authority) secretMatches(c *Client, secret string) bool {
	d := handle.Digest(secret)
	mac := a.d.Keyring.Handle(d[:])
	now := a.d.Now().Unix()
	ok := false
	for _, s := range c.Secrets {
		if subtle.ConstantTimeCompare(s.Hash, mac) == 1 && (s.Expires == 0 || now < s.Expires) {
			ok = true
		}
	}
	return ok && secret != ""
}

// assertionMatches checks a client assertion (RFC 7523 §3): signed by one of the
// client's keys, about itself, for us, once.
func (a *Authority) assertionMatches(c *Client, as *oauth.Assertion) (ledger.Once, bool) {
	set, err := jose.ParseSet(c.JWKS)
	if err != nil || as.Claims.Subject != string(c.ID) {
		return ledger.Once{}, false
	}
	if as.Check(a.assertionCheck(set.Keys, true)) != nil {
		return ledger.Once{}, false
	}
	return assertionOnce(as), true
}

// assertionCheck says how assertions may name us: by the issuer, or by an endpoint.
func (a *Authority) assertionCheck(keys []*jose.Key, client bool) oauth.AssertionCheck {
	return oauth.AssertionCheck{
		Keys: keys, Now: a.d.Now(), Skew: skew, Client: client,
		Audience: []string{a.cfg.Issuer, a.url(pathToken), a.url(pathPAR), a.url(pathIntrospect), a.url(pathRevoke), a.url(pathDeviceAuth)},
	}
}

// assertionOnce keeps an assertion single for as long as it would be taken.
func assertionOnce(as *oauth.Assertion) ledger.Once {
	return ledger.Once{
		Space: spaceAssertion, Key: as.Claims.Issuer + "\x00" + as.Claims.ID,
		Expires: time.Unix(as.Claims.Expires, 0).Add(2 * skew),
	}
}

// certificateMatches checks the certificate that the TLS handshake proved
// possession of (RFC 8705 §2). tls_client_auth needs a chain that the listener
// verified; self-signed ones are known by thumbprint.
func certificateMatches(c *Client, r *http.Request) bool {
	cert := peerCertificate(r)
	if cert == nil {
		return false
	}
	if c.Method() == AuthSelfSigned {
		return slices.Contains(c.TLSThumbprints, thumbprint(cert))
	}
	return len(r.TLS.VerifiedChains) > 0 && c.TLSSubject != "" &&
		(cert.Subject.String() == c.TLSSubject || slices.Contains(cert.DNSNames, c.TLSSubject))
}

func peerCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}
