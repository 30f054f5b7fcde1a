package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// told is a Meter that passes on copies of what it is told.
type told chan health.Observed

func (m told) Observe(o *health.Observed) {
	seen := *o
	if o.Token != nil {
		t := *o.Token // borrowed
		seen.Token = &t
	}
	m <- seen
}

func TestMeterIsToldWhatBecameOfEachRequest(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &status); err == nil {
			w.WriteHeader(status)
			return
		}
		// An answer that breaks off.
		conn, b, _ := w.(http.Hijacker).Hijack()
		writeBroken(b)
		conn.Close()
	}))
	defer up.Close()
	meter := make(told, 16)
	r := newRig(t, service(up.URL, epoch.Route{Name: "all", Path: "/*", Scopes: []string{"read"}}), func(c *Config, _ *arrival.ServerConfig) { c.Meter = meter })
	r.token("good", func(*mintmark.Token) {})
	r.token("poor", func(tok *mintmark.Token) { tok.Scopes = nil })
	next := func() health.Observed {
		t.Helper()
		select {
		case o := <-meter:
			return o
		case <-time.After(10 * time.Second):
			t.Fatal("the meter is told of nothing")
		}
		return health.Observed{}
	}
	for _, status := range []int{200, 401, 503} {
		r.get(fmt.Sprintf("/status/%d", status), "good")
		o := next()
		if o.Upstream != status || o.Status != status || o.Code != "" || o.Cut || o.Token == nil || o.Served == nil || o.Route.Name != "all" || o.Method != "GET" || o.Snapshot == nil {
			t.Errorf("%d: told %+v", status, o)
		}
	}
	r.get("/status/200", "poor")
	if o := next(); o.Code != mintmark.CodeScope || o.Status != 403 || o.Upstream != 0 || o.Token == nil || o.Failures(nil) != 1<<health.PlaceRefusedPolicy {
		t.Errorf("refused: told %+v", o)
	}
	r.get("/status/200", "unknown")
	if o := next(); o.Code != mintmark.CodeMalformed || o.Token != nil {
		t.Errorf("not verified: told %+v", o)
	}
	res, err := http.DefaultClient.Do(r.request(http.MethodGet, "/broken", "good"))
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	if o := next(); !o.Cut || o.Upstream != 200 || o.Failures(nil) != 1<<health.PlaceCutOff {
		t.Errorf("broken off: told %+v", o)
	}
	// The gateway's own answers are decided about no service.
	res, err = http.Get(r.url + metadataPath)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	up.Close()
	r.get("/status/200", "good")
	o := next()
	for o.Cut || o.Route == nil { // the client tried again by itself
		o = next()
	}
	if o.Code != mintmark.CodeUpstream || o.Upstream != 0 || o.Failures(nil) != 1<<health.PlaceServerError {
		t.Errorf("no upstream: told %+v", o)
	}
}

func writeBroken(b *bufio.ReadWriter) {
	fmt.Fprint(b, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all")
	b.Flush()
}
