package authority_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkClientCredentials is one issuance, from parsed request to durable
// append (on a scratch store) without the network.
func BenchmarkClientCredentials(b *testing.B) {
	w := newWorld(b)
	c := machine()
	secret := w.client(c)
	h := w.auth.Handler()
	body := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}.Encode()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth("machine", secret)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != http.StatusOK {
				b.Errorf("%d %s", rec.Code, rec.Body)
				return
			}
		}
	})
}
