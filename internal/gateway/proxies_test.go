package gateway

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/forwarded"
)

// limited is a public route with three requests an address.
func limited() epoch.Route {
	return epoch.Route{Name: "all", Path: "/*", Public: true, RateLimit: &epoch.RateLimit{PerMinute: 1, Burst: 3, By: "address"}}
}

func TestTrustedProxySaysWhoAsks(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, service(server(t, echo), limited()), func(c *Config, _ *arrival.ServerConfig) {
		c.Trusted = forwarded.Trust{netip.MustParsePrefix("127.0.0.0/8")}
		c.Access = slog.New(slog.NewTextHandler(&log, nil))
	})
	ask := func(from string) (int, seen) {
		req := r.request("GET", "/x", "")
		req.Header.Set("X-Forwarded-For", from)
		req.Header.Set("X-Forwarded-Proto", "https")
		req.Header.Set("X-Forwarded-Host", "forged.example")
		resp, body := r.do(req)
		if resp.StatusCode != 200 {
			return resp.StatusCode, seen{}
		}
		return 200, decode(t, body)
	}
	status, s := ask("192.0.2.1, 203.0.113.9, 127.0.0.5")
	for name, want := range map[string]string{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": r.addr} {
		if got := s.Header[name]; status != 200 || len(got) != 1 || got[0] != want {
			t.Errorf("%d: upstream saw %s: %q, want %q", status, name, got, want)
		}
	}
	ask("192.0.2.2, 203.0.113.9")
	ask("192.0.2.3, 203.0.113.9")
	if status, _ := ask("192.0.2.4, 203.0.113.9"); status != 429 {
		t.Errorf("naming other addresses buys requests: %d", status)
	}
	if status, _ := ask("203.0.114.9"); status != 200 {
		t.Errorf("another address has no requests left: %d", status)
	}
	for i, want := range []int{200, 200, 200, 429} {
		if status, _ := ask("2001:db8::" + string(rune('1'+i))); status != want {
			t.Errorf("address %d of one /64: %d, want %d", i, status, want)
		}
	}
	if text := log.String(); !strings.Contains(text, "peer="+Truncated(netip.MustParseAddr("203.0.113.9"))) || strings.Contains(text, "peer=127.") {
		t.Errorf("access log:\n%s", text)
	}
}

func TestStrangersSayNothing(t *testing.T) {
	for _, trusted := range []forwarded.Trust{nil, {netip.MustParsePrefix("10.0.0.0/8")}} {
		r := newRig(t, service(server(t, echo), limited()), func(c *Config, _ *arrival.ServerConfig) { c.Trusted = trusted })
		for i, want := range []int{200, 200, 200, 429} {
			req := r.request("GET", "/x", "")
			req.Header.Set("X-Forwarded-For", "10.0.0."+string(rune('1'+i)))
			req.Header.Set("Forwarded", "for=10.0.0.1;proto=https")
			req.Header.Set("X-Forwarded-Proto", "https")
			resp, body := r.do(req)
			if resp.StatusCode != want {
				t.Fatalf("request %d: %d, want %d", i, resp.StatusCode, want)
			}
			if want != 200 {
				continue
			}
			s := decode(t, body)
			if s.Header.Get("X-Forwarded-For") != "127.0.0.1" || s.Header.Get("X-Forwarded-Proto") != "http" || s.Header.Get("Forwarded") != "" {
				t.Errorf("a stranger's word went upstream: %v", s.Header)
			}
		}
	}
}
