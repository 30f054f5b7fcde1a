package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Over HTTP/2 a request can have what HTTP/1 has no place for. That is the client's
// doing: it must not count as the release's failure, which would be taken back for it.
func TestWhatCannotBeSentOnIsTheClientsFault(t *testing.T) {
	met := &sights{}
	r := newRig(t, service(server(t, echo)), func(c *Config, _ *arrival.ServerConfig) { c.Meter = met })
	for name, change := range map[string]func(*http.Request){
		"query":  func(r *http.Request) { r.URL.RawQuery = "q=a b" },
		"host":   func(r *http.Request) { r.Host = "a b" },
		"method": func(r *http.Request) { r.Method = "GET /other" },
	} {
		req := httptest.NewRequest(http.MethodGet, "http://orders.test/x", nil)
		req.Header.Set("Authorization", "Bearer good")
		req.ProtoMajor, req.ProtoMinor = 2, 0
		change(req)
		w := httptest.NewRecorder()
		r.gateway.ServeHTTP(w, req)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", name, w.Code)
		}
		if s := met.take(); strings.Contains(s, "upstream") {
			t.Errorf("%s: the meter was told %q", name, s)
		}
	}
}

// An informational answer is as clean as the final one.
func TestInformationalIsClean(t *testing.T) {
	up := server(t, func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(buf, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Secret: 1\r\nMintmark-Token-Id: forged\r\n\r\n")
		fmt.Fprint(buf, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		buf.Flush()
	})
	s := service(up)
	s.Routes[0].Transform = hidden("X-Secret")
	r := newRig(t, s)
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: orders.test\r\nAuthorization: Bearer good\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(all), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 103 ") || !strings.Contains(head, "Link: </a>") {
		t.Fatalf("%q", all)
	}
	for _, name := range []string{"Connection", "X-Hop", "X-Secret", "Mintmark"} {
		if strings.Contains(head, name) {
			t.Errorf("%s came through: %q", name, head)
		}
	}
}

func hidden(name string) *epoch.Transform {
	return &epoch.Transform{Response: epoch.HeaderChange{Remove: []string{name}}}
}
