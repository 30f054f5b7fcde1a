package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

// idp is a provider that signs with its newest key and answers any code.
type idp struct {
	t      *testing.T
	server *httptest.Server
	keys   atomic.Int64 // fetches of the keys

	mu     sync.Mutex
	signer *jose.Signer
	shown  *jose.Signer // in the key set; nil is the signer
}

func newIDP(t *testing.T) *idp {
	p := &idp{t: t}
	p.rotate("k1")
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

func (p *idp) rotate(kid string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := jose.NewSigner(kid, jose.ES256, k)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signer = s
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","jwks_uri":"%[1]s/k"}`, p.server.URL)
	case "/k":
		p.keys.Add(1)
		s := p.signer
		if p.shown != nil {
			s = p.shown
		}
		fmt.Fprintf(w, `{"keys":[%s]}`, s.Key().JWK())
	case "/t":
		now := time.Now().Unix()
		payload, _ := json.Marshal(map[string]any{"iss": p.server.URL, "aud": "us", "sub": "bob", "nonce": "n", "iat": now, "exp": now + 60})
		token, err := p.signer.Sign(rand.Reader, "JWT", payload)
		if err != nil {
			p.t.Error(err)
		}
		fmt.Fprintf(w, `{"id_token":%q}`, token)
	}
}

// A provider that rotates its key is believed at once; one that signs with keys it
// does not show is asked once in a while, however many come with them.
func TestProviderRotatesItsKey(t *testing.T) {
	idp := newIDP(t)
	var offset atomic.Int64
	ps := NewProviders(http.DefaultClient, func() time.Time { return time.Now().Add(time.Duration(offset.Load())) })
	p := &Provider{Name: "acme", Issuer: idp.server.URL, ClientID: "us"}
	redeem := func() error {
		_, err := ps.Redeem(context.Background(), p, Attempt{Nonce: "n"}, "code")
		return err
	}
	if err := redeem(); err != nil {
		t.Fatal(err)
	}
	idp.rotate("k2")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := redeem(); err != nil {
				t.Errorf("after the rotation: %v", err)
			}
		})
	}
	wg.Wait()
	if n := idp.keys.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times, want 2", n)
	}
	idp.mu.Lock()
	idp.shown = idp.signer
	idp.mu.Unlock()
	idp.rotate("k3")
	offset.Add(int64(cooldown))
	for range 20 {
		if err := redeem(); err == nil {
			t.Fatal("a key that is not shown was believed")
		}
	}
	if n := idp.keys.Load(); n != 3 {
		t.Errorf("the keys were fetched %d times, want 3", n)
	}
}
