package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
)

func pool(t testing.TB, health *epoch.Health, urls ...string) (*Set, *Pool) {
	t.Helper()
	s := New(Config{})
	r := &epoch.Release{Name: "v1", Health: health}
	for _, u := range urls {
		r.Upstreams = append(r.Upstreams, epoch.Upstream{URL: u})
	}
	p, err := s.Pool("s/v1", r)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func request(method, path string, body io.Reader) *http.Request {
	u, _ := url.ParseRequestURI(path)
	u.Scheme, u.Host = "http", "host.test"
	r := &http.Request{Method: method, URL: u, Host: "host.test", Header: http.Header{}, Body: http.NoBody}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(body), -1
	}
	return r
}

// rawServer answers each connection's requests with fixed bytes.
func rawServer(t *testing.T, answer string, conns *atomic.Int32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if conns != nil {
				conns.Add(1)
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					io.WriteString(c, answer)
					if strings.Contains(answer, "close") {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestAmbiguousResponsesAreRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"CL and TE":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CL twice":      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		"CL sign":       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
		"TE other":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"TE in 1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"body in 204":   "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nab",
		"unasked 101":   "HTTP/1.1 101 Sw\r\nUpgrade: x\r\n\r\n",
		"bad status":    "HTTP/1.1 2000 OK\r\n\r\n",
		"no status":     "hello\r\n\r\n",
		"control":       "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
		"space in name": "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
		"endless 1xx":   strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 20),
		"endless head":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 400) + "\r\n",
		"HTTP/2 answer": "HTTP/2 200 OK\r\n\r\n",
	} {
		_, p := pool(t, nil, rawServer(t, answer, nil))
		resp, err := p.Do(request("GET", "/", nil), &Options{Timeout: 2 * time.Second})
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s: accepted with %d", name, resp.StatusCode)
		}
	}
}

func TestBytesAfterTheEndCostTheConnection(t *testing.T) {
	var conns atomic.Int32
	_, p := pool(t, nil, rawServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", &conns))
	for range 3 {
		resp, err := p.Do(request("GET", "/", nil), &Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "ok" {
			t.Fatalf("answer %q", b)
		}
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections, want 3", conns.Load())
	}
}

func TestTruncatedBodiesAreErrors(t *testing.T) {
	for name, answer := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX: close\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: close\r\n\r\n3\r\nabc\r\n",
		"no end":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: close\r\n\r\n3\r\nabc\r\n0\r\n",
	} {
		_, p := pool(t, nil, rawServer(t, answer, nil))
		resp, err := p.Do(request("GET", "/", nil), &Options{Timeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: looked complete", name)
		}
		resp.Body.Close()
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	_, p := pool(t, nil, s.URL)
	for i := range 20 {
		var body io.Reader
		want := ""
		if i%2 == 1 {
			want = strings.Repeat("z", i*1000)
			body = strings.NewReader(want)
		}
		resp, err := p.Do(request("POST", "/", body), &Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != want {
			t.Fatalf("%d: %d bytes, %v", i, len(b), err)
		}
	}
	if n := conns.Load(); n > 3 {
		t.Errorf("%d connections for 20 exchanges in a row", n)
	}
	if n := p.targets[0].inFlight.Load(); n != 0 {
		t.Errorf("%d in flight after the end", n)
	}
}

func TestRetryGoesElsewhereOnlyWhenSafe(t *testing.T) {
	ok := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer ok.Close()
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := "http://" + l.Addr().String()
	l.Close()
	failed := 0
	for range 4 { // a fresh pool each time: ejection must not help
		_, p := pool(t, nil, dead, ok.URL)
		for range 2 {
			resp, err := p.Do(request("GET", "/", nil), &Options{Retries: 1})
			if err != nil {
				t.Fatalf("GET with a retry: %v", err)
			}
			resp.Body.Close()
		}
		_, p = pool(t, nil, dead, ok.URL)
		for range 8 {
			if resp, err := p.Do(request("POST", "/", strings.NewReader("x")), &Options{Retries: 3}); err != nil {
				failed++
			} else {
				resp.Body.Close()
			}
		}
	}
	if failed == 0 {
		t.Error("no POST failed: it was tried twice")
	}
}

func TestEjection(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := "http://" + l.Addr().String()
	l.Close()
	ok := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ok.Close()
	_, p := pool(t, nil, dead, ok.URL)
	for range 20 {
		if resp, err := p.Do(request("GET", "/", nil), &Options{Retries: 1}); err == nil {
			resp.Body.Close()
		}
	}
	if h, n := p.Healthy(); h != 1 || n != 2 {
		t.Errorf("healthy %d of %d", h, n)
	}
}

func TestActiveChecks(t *testing.T) {
	var down atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(500)
		}
	}))
	defer s.Close()
	set, p := pool(t, &epoch.Health{Path: "/healthz", IntervalMS: 20, Unhealthy: 2}, s.URL)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { set.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	wait := func(want int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if h, _ := p.Healthy(); h == want {
				return
			}
		}
		t.Fatalf("never %d healthy", want)
	}
	wait(1)
	down.Store(true)
	wait(0)
	if resp, err := p.Do(request("GET", "/", nil), &Options{}); err != nil {
		t.Errorf("all down must mean all tried: %v", err)
	} else {
		resp.Body.Close()
	}
	down.Store(false)
	wait(1)
}

type gate struct {
	err error
	n   int
}

func (g *gate) Pass() error { g.n++; return g.err }

func TestGateIsAskedBeforeTheFirstByte(t *testing.T) {
	reached := atomic.Int32{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	no := errors.New("no")
	for _, scheme := range []string{s.URL, "h2c" + strings.TrimPrefix(s.URL, "http")} {
		_, p := pool(t, nil, scheme)
		g := &gate{err: no}
		if _, err := p.Do(request("GET", "/", nil), &Options{Gate: g, Retries: 3}); !errors.Is(err, no) || g.n != 1 {
			t.Errorf("%s: %v, asked %d times", scheme, err, g.n)
		}
	}
	if reached.Load() != 0 {
		t.Error("the server was reached")
	}
}

func TestSharesFollowWeights(t *testing.T) {
	s := New(Config{})
	p, err := s.Pool("s/v1", &epoch.Release{Upstreams: []epoch.Upstream{{URL: "http://a", Weight: 3}, {URL: "http://b", Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var n [2]int
	for range 10000 {
		i, _ := p.pick(0)
		n[i]++
	}
	if n[0] < 7400 || n[0] > 7600 {
		t.Errorf("shares %v, want 3:1", n)
	}
	same, _ := s.Pool("s/v1", &epoch.Release{Upstreams: []epoch.Upstream{{URL: "http://a", Weight: 3}, {URL: "http://b", Weight: 1}}})
	if same != p {
		t.Error("the same configuration made another pool")
	}
}

func FuzzResponseHead(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n")
	f.Add("HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.0 204 N\r\n\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		a, b := net.Pipe()
		go func() {
			io.Copy(io.Discard, io.LimitReader(b, 1)) // the request is coming
			go io.Copy(io.Discard, b)
			io.WriteString(b, answer)
			b.Close()
		}()
		tg := &target{set: New(Config{}), scheme: "http"}
		tg.inFlight.Add(1)
		resp, err := newWire(tg, a).roundTrip(request("GET", "/", nil), &Options{Timeout: time.Second})
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil && resp.ContentLength > 0 && n != resp.ContentLength {
			t.Errorf("%d bytes of %d looked complete", n, resp.ContentLength)
		}
		if tg.inFlight.Load() != 0 {
			t.Error("the exchange was not accounted to its end")
		}
	})
}
