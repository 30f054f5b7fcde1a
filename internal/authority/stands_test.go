package authority_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// A token that was accepted stands until it is over or taken back.
func TestStands(t *testing.T) {
	w := newWorld(t)
	who := "machine:" + w.client(machine())
	accepted := func() (string, func() bool) {
		t.Helper()
		_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {who}})
		value := ans["access_token"].(string)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+value)
		tok, err := w.auth.Present(httptest.NewRecorder(), r, "", "")
		must(t, err)
		return value, func() bool { return w.auth.Stands(tok) }
	}
	value, first := accepted()
	_, second := accepted()
	w.revoke(t, who, value)
	if first() || !second() {
		t.Errorf("after the first was revoked: %v, %v", first(), second())
	}
	w.clock.advance(time.Hour)
	if second() {
		t.Error("it stands after its end")
	}
}
