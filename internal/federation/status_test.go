package federation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/statuslist"
)

const listURI = "https://lists.example/1"

func listSigner(t testing.TB, kid string) *jose.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(kid, jose.ES256, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listed signs a list of 16 places with one status set.
func listed(t testing.TB, s *jose.Signer, at int, status statuslist.Status, ttl, life int64) string {
	t.Helper()
	l, _ := statuslist.New(2, 16)
	if err := l.Set(at, status); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	tok := statuslist.Token{Issuer: iss, Subject: listURI, IssuedAt: now, TTL: ttl, List: l}
	if life != 0 {
		tok.Expires = now + life
	}
	payload, err := tok.Payload()
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Sign(rand.Reader, statuslist.Type, payload)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// listWorld serves keys and a list that the test changes.
type listWorld struct {
	world
	lists sync.Mutex
	body  string // guarded by lists; "" answers 500
	keys  string // guarded by lists
}

func (w *listWorld) publishList(body string) { w.lists.Lock(); w.body = body; w.lists.Unlock() }

func (w *listWorld) begin(t *testing.T, keys string) *Federation {
	w.keys = keys
	w.fail(func(r *http.Request) (int, string, error) {
		w.lists.Lock()
		defer w.lists.Unlock()
		switch r.URL.Path {
		case "/keys":
			return 200, w.keys, nil
		case "/1":
			if r.Header.Get("Accept") != statuslist.MediaType {
				return 406, "", nil
			}
			if w.body == "" {
				return 500, "", nil
			}
			return 200, w.body, nil
		}
		return 404, "", nil
	})
	f := start(t, &w.world, Issuer{Part: epoch.Issuer{Name: "idp", Issuer: iss, MaxAge: 86400, StatusList: true}, JWKSURI: "https://idp.example/keys"}, epoch.Issuers{})
	synctest.Wait()
	return f
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := listSigner(t, "s1"), &listWorld{}
		f := w.begin(t, set(s.Key()))
		w.publishList(listed(t, s, 3, statuslist.Invalid, 120, 0))
		ref := func(i uint64) statuslist.Reference { return statuslist.Reference{Index: i, URI: listURI} }
		var all sync.WaitGroup
		for i := range uint64(16) {
			all.Go(func() {
				got, ttl, err := f.Status(t.Context(), "idp", ref(i))
				if want := statuslist.Status(0); err != nil || i != 3 && got != want || i == 3 && got != statuslist.Invalid || ttl <= 0 || ttl > askAgain {
					t.Errorf("%d: %v for %v, %v", i, got, ttl, err)
				}
			})
		}
		all.Wait()
		if n := w.count("/1"); n != 1 {
			t.Errorf("fetched %d times", n)
		}
		// Until the ttl what was fetched holds, then the new one.
		w.publishList(listed(t, s, 3, statuslist.Suspended, 120, 0))
		time.Sleep(119 * time.Second)
		if got, _, err := f.Status(t.Context(), "idp", ref(3)); got != statuslist.Invalid || err != nil {
			t.Errorf("within the ttl: %v, %v", got, err)
		}
		time.Sleep(2 * time.Second)
		if got, _, err := f.Status(t.Context(), "idp", ref(3)); got != statuslist.Suspended || err != nil {
			t.Errorf("after the ttl: %v, %v", got, err)
		}
		// An issuer that fails: the last good one for a while, then unknown.
		w.publishList("")
		time.Sleep(121 * time.Second)
		if got, _, err := f.Status(t.Context(), "idp", ref(3)); got != statuslist.Suspended || err != nil {
			t.Errorf("issuer down: %v, %v", got, err)
		}
		time.Sleep(statusGrace)
		if _, _, err := f.Status(t.Context(), "idp", ref(3)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("issuer down for long: %v", err)
		}
		before := w.count("/1")
		for range 100 {
			_, _, _ = f.Status(t.Context(), "idp", ref(1))
		}
		if n := w.count("/1"); n != before {
			t.Errorf("%d fetches within the cooldown", n-before)
		}
		time.Sleep(Cooldown)
		w.publishList(listed(t, s, 3, statuslist.Invalid, 120, 60))
		if got, _, err := f.Status(t.Context(), "idp", ref(3)); got != statuslist.Invalid || err != nil {
			t.Errorf("issuer back: %v, %v", got, err)
		}
		// Its own exp ends it, whatever its ttl.
		w.publishList("")
		time.Sleep(61 * time.Second)
		if _, _, err := f.Status(t.Context(), "idp", ref(3)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("expired: %v", err)
		}
	})
}

// Nothing but a list that the issuer signed under that address is one; and no bad
// answer says that a token is revoked.
func TestStatusRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stranger, w := listSigner(t, "s1"), listSigner(t, "s1"), &listWorld{}
		f := w.begin(t, set(s.Key()))
		other := listed(t, s, 3, statuslist.Invalid, 60, 0)
		access, _ := s.Sign(rand.Reader, "at+jwt", []byte(`{"sub":"`+listURI+`","iat":1}`))
		for name, body := range map[string]string{
			"nothing": "", "HTML": "<html>", "JSON": `{"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`, "an access token": access,
			"a stranger's key": listed(t, stranger, 3, statuslist.Invalid, 60, 0), "cut short": other[:len(other)-9],
		} {
			w.publishList(body)
			time.Sleep(Cooldown)
			if got, _, err := f.Status(t.Context(), "idp", statuslist.Reference{Index: 3, URI: listURI}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		w.publishList(other)
		time.Sleep(Cooldown)
		if _, _, err := f.Status(t.Context(), "idp", statuslist.Reference{Index: 16, URI: listURI}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("beyond the list: %v", err)
		}
		for _, uri := range []string{"http://lists.example/1", "https://lists.example/2", "file:///etc/passwd"} {
			if _, _, err := f.Status(t.Context(), "idp", statuslist.Reference{Index: 3, URI: uri}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", uri, err)
			}
		}
		if _, _, err := f.Status(t.Context(), "nobody", statuslist.Reference{URI: listURI}); !errors.Is(err, ErrUnknownIssuer) {
			t.Errorf("unknown issuer: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := f.Status(ctx, "idp", statuslist.Reference{URI: "https://lists.example/3"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a caller that left: %v", err)
		}
		time.Sleep(fetchTime)
	})
}

// A key that the issuer made after its set was fetched is looked for once.
func TestStatusNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, next, w := listSigner(t, "s1"), listSigner(t, "s2"), &listWorld{}
		f := w.begin(t, set(s.Key()))
		w.lists.Lock()
		w.keys = set(s.Key(), next.Key())
		w.lists.Unlock()
		time.Sleep(Cooldown)
		w.publishList(listed(t, next, 3, statuslist.Invalid, 60, 0))
		if got, _, err := f.Status(t.Context(), "idp", statuslist.Reference{Index: 3, URI: listURI}); got != statuslist.Invalid || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		if part := f.Part(); len(part.Requires) != 1 || part.Requires[0] != epoch.FeatureStatusList {
			t.Errorf("part requires %v", part.Requires)
		}
	})
}

func TestStatusListsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := listSigner(t, "s1"), &listWorld{}
		f := w.begin(t, set(s.Key()))
		for i := range 3 * statusLists {
			_, _, _ = f.Status(t.Context(), "idp", statuslist.Reference{URI: listURI + strings.Repeat("x", i)})
		}
		f.statuses.mu.Lock()
		defer f.statuses.mu.Unlock()
		if n := len(f.statuses.kept); n > statusLists {
			t.Errorf("%d lists kept", n)
		}
	})
}
