package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Outage is which part of the issuer gives no answer.
type Outage string

// Outages. Endpoints that are down answer 503.
const (
	NoOutage            Outage = "none"
	OutageJWKS          Outage = "jwks" // metadata and keys
	OutageIntrospection Outage = "introspection"
	OutageToken         Outage = "token"
	OutageAll           Outage = "all"
)

// SetOutage takes a part of the issuer down and everything else up.
func (i *Issuer) SetOutage(o Outage) error {
	switch o {
	case NoOutage, OutageJWKS, OutageIntrospection, OutageToken, OutageAll:
	default:
		return fmt.Errorf("%w: outage %.40q is not known", ErrConfig, string(o))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outage = o
	return nil
}

// timePath answers the issuer's clock; it is the kit's own.
const timePath = "/testkit/time"

func (i *Issuer) down(path string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch i.outage {
	case OutageAll:
		return true
	case OutageJWKS:
		return path == "/jwks" || len(path) > 12 && path[:12] == "/.well-known"
	case OutageIntrospection:
		return path == "/introspect"
	case OutageToken:
		return path == "/token"
	}
	return false
}

// front stands before the authority: outages, the clock, and the translation of
// tokens that were presented with their times moved.
func (i *Issuer) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case i.down(r.URL.Path):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the scenario has this endpoint down", http.StatusServiceUnavailable)
		case r.URL.Path == timePath:
			fmt.Fprintln(w, i.Now().Unix())
		case r.Method == http.MethodPost && (r.URL.Path == "/introspect" || r.URL.Path == "/revoke"):
			i.translated(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// maxBody bounds a request to introspection or revocation, and an answer that is
// looked at.
const maxBody = 1 << 20

// translated puts the minted token in the place of the presented one, and the
// times of the answer in the asker's terms.
func (i *Issuer) translated(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body can't be read", http.StatusBadRequest)
		return
	}
	ahead := int64(i.ahead() / time.Second)
	if form, err := url.ParseQuery(string(body)); err == nil && len(form["token"]) == 1 {
		i.mu.Lock()
		minted := i.presented[form.Get("token")]
		i.mu.Unlock()
		if minted != "" {
			form.Set("token", minted)
			body = []byte(form.Encode())
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	if ahead == 0 {
		next.ServeHTTP(w, r)
		return
	}
	rec := &kept{header: http.Header{}, code: http.StatusOK}
	next.ServeHTTP(rec, r)
	answer := rec.body.Bytes()
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) == nil && members["active"] != nil {
		for _, name := range times {
			var at int64
			if v, ok := members[name]; ok && json.Unmarshal(v, &at) == nil {
				members[name] = number(at - ahead)
			}
		}
		if moved, err := json.Marshal(members); err == nil {
			answer = moved
		}
	}
	for name, values := range rec.header {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(rec.code)
	_, _ = w.Write(answer) // a caller that went away is no failure
}

// kept is an answer that is looked at before it is sent.
type kept struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(code int)        { k.code = code }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }
