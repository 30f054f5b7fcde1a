package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
)

func TestServerDrains(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := NewServer(ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})})
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-entered
	stop()
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request in progress got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestServerCutsWhatWouldNotEnd(t *testing.T) {
	entered := make(chan struct{})
	s := NewServer(ServerConfig{Drain: time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})})
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	go func() {
		if res, err := http.Get("http://" + l.Addr().String()); err == nil {
			res.Body.Close()
		}
	}()
	<-entered
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestProblem(t *testing.T) {
	w := httptest.NewRecorder()
	Identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		WriteProblem(w, r, ProblemOf(mintmark.CodeStateUnknown))
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != "application/problem+json" ||
		p.Code != "state_unknown" || p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("%d %v %+v", w.Code, w.Header(), p)
	}
}

func TestReadJSON(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		ok                      bool
	}{
		{"good", "application/json; charset=utf-8", `{"a":1}`, true},
		{"unknown member", "application/json", `{"b":1}`, false},
		{"two values", "application/json", `{"a":1}{}`, false},
		{"form", "application/x-www-form-urlencoded", `a=1`, false},
		{"large", "application/json", `{"a":` + strings.Repeat("1", 100) + `}`, false},
		{"empty", "application/json", ``, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.contentType)
		var v struct{ A int }
		err := ReadJSON(httptest.NewRecorder(), r, 64, &v)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrBody)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestIdentify(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct {
		id, trace string
		keepID    bool
		keepTrace bool
	}{
		{"abcdefgh-1", good, true, true},
		{"a b\nforged", strings.ToUpper(good), false, false},
		{"", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Request-Id"], r.Header["Traceparent"] = []string{tt.id}, []string{tt.trace}
		Identify(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if (RequestID(r.Context()) == tt.id) != tt.keepID || (Traceparent(r.Context()) == tt.trace) != tt.keepTrace {
				t.Errorf("%q %q became %q %q", tt.id, tt.trace, RequestID(r.Context()), Traceparent(r.Context()))
			}
			if !ValidTraceparent(Traceparent(r.Context())) {
				t.Error("made a malformed trace context")
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestCSRF(t *testing.T) {
	c := NewCSRF([]byte("0123456789abcdef"))
	post := func(site string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		return r
	}
	if !c.Check(post("same-origin"), "v1", c.Token("v1")) {
		t.Error("refused its own form")
	}
	for name, ok := range map[string]bool{
		"other visit":  c.Check(post("same-origin"), "v2", c.Token("v1")),
		"other origin": c.Check(post("cross-site"), "v1", c.Token("v1")),
		"no token":     c.Check(post("same-origin"), "v1", ""),
		"no visit":     c.Check(post("same-origin"), "", c.Token("")),
	} {
		if ok {
			t.Error("accepted:", name)
		}
	}
}

func TestSecure(t *testing.T) {
	w := httptest.NewRecorder()
	Secure(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if csp := w.Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
}

func writePair(t *testing.T, dir string, ca *CA, name string) CertificateFiles {
	t.Helper()
	cert, key, err := ca.Issue(Leaf{Name: name, Hosts: []string{"127.0.0.1", "localhost"}, Server: true, Client: true, TTL: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := CertificateFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: filepath.Join(dir, "ca.pem"), RequireClient: true}
	for name, b := range map[string][]byte{files.Cert: cert, files.Key: key, files.ClientCA: ca.CertPEM()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestCertificatesReload(t *testing.T) {
	ca, err := NewCA("test", time.Now(), time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := writePair(t, dir, ca, "first")
	certs, err := NewCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- NewServer(ServerConfig{Handler: http.NotFoundHandler(), TLS: certs.Config()}).Run(ctx, l)
	}()
	defer func() { stop(); <-ended }()
	peer := func(client []tls.Certificate) (string, error) {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), Certificates: client})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		// With TLS 1.3 a server's refusal is seen at the first read.
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return "", err
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", err
		}
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := peer([]tls.Certificate{pair}); err != nil || name != "first" {
		t.Fatalf("%s %v", name, err)
	}
	if _, err := peer(nil); err == nil {
		t.Error("a client without certificate got in")
	}
	writePair(t, dir, ca, "second")
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if name, err := peer([]tls.Certificate{pair}); err != nil || name != "second" {
		t.Errorf("after reload: %s %v", name, err)
	}
	if err := os.WriteFile(files.Key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if certs.Reload() == nil {
		t.Error("a broken key was taken up")
	}
	if name, err := peer([]tls.Certificate{pair}); err != nil || name != "second" {
		t.Errorf("after a broken reload: %s %v", name, err)
	}
}

func TestCertificatesRunTakesUpChanges(t *testing.T) {
	ca, err := NewCA("test", time.Now(), time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certs, err := NewCertificates(writePair(t, dir, ca, "first"))
	if err != nil {
		t.Fatal(err)
	}
	before := certs.current.Load()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- certs.Run(ctx, time.Millisecond, slog.New(slog.DiscardHandler)) }()
	files := writePair(t, dir, ca, "second")
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(files.Cert, later, later); err != nil {
		t.Fatal(err)
	}
	for certs.current.Load() == before && ctx.Err() == nil {
		time.Sleep(time.Millisecond) // polled against the context's deadline
	}
	if ctx.Err() != nil {
		t.Error("the change was not taken up")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCASignsRequests(t *testing.T) {
	now := time.Now()
	made, err := NewCA("test", now, time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := made.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := LoadCA(made.CertPEM(), key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	req, private, err := NewRequest("i-am-control", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Sign(req, Leaf{Name: "gw-1", Client: true, TTL: time.Minute}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf.Subject.CommonName != "gw-1" {
		t.Errorf("the applicant chose its name: %s", pair.Leaf.Subject.CommonName)
	}
	opts := x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := pair.Leaf.Verify(opts); err != nil {
		t.Error(err)
	}
	opts.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := pair.Leaf.Verify(opts); err == nil {
		t.Error("a client's certificate serves")
	}
	if _, err := ca.Sign([]byte("nonsense"), Leaf{}, now); err == nil {
		t.Error("signed nonsense")
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestEgressAddresses(t *testing.T) {
	e := NewEgress(EgressConfig{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}})
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "10.1.2.3": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false,
		"::ffff:127.0.0.1": false, "0.0.0.0": false, "::": false, "192.168.1.1": false, "fd00::1": false, "fec0::1": false,
		"100.100.100.200": false, "224.0.0.1": false, "255.255.255.255": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
	} {
		if got := e.Allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Allowed(%s) = %v", addr, got)
		}
	}
}

func TestEgress(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 2000))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(bytes.Repeat([]byte("x"), 1<<20))
			_ = z.Close()
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte("ok"))
			_ = z.Close()
		case "/br":
			w.Header().Set("Content-Encoding", "br")
		case "/slow":
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	defer s.Close()
	open := NewEgress(EgressConfig{Allow: loopback, MaxBody: 1000, Timeout: 2 * time.Second})
	for path, want := range map[string]error{"/": nil, "/gzip": nil, "/redirect": ErrRedirect, "/large": ErrTooLarge, "/bomb": ErrTooLarge} {
		a, err := open.Get(t.Context(), s.URL+path)
		if !errors.Is(err, want) || (want == nil && string(a.Body) != "ok") {
			t.Errorf("%s: %q %v, want %v", path, a.Body, err, want)
		}
	}
	if _, err := open.Get(t.Context(), s.URL+"/br"); err == nil {
		t.Error("an encoding not asked for was taken")
	}
	quick := NewEgress(EgressConfig{Allow: loopback, Timeout: 20 * time.Millisecond})
	if _, err := quick.Get(t.Context(), s.URL+"/slow"); err == nil {
		t.Error("no time-out")
	}
	if _, err := NewEgress(EgressConfig{}).Get(t.Context(), s.URL); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("loopback was called: %v", err)
	}
	if res, err := open.Client().Get(s.URL + "/"); err != nil || res.StatusCode != 200 {
		t.Errorf("client: %v", err)
	} else {
		res.Body.Close()
	}
	if _, err := open.Get(t.Context(), "file:///etc/passwd"); err == nil {
		t.Error("called a file")
	}
}

// A name that answers with a public and a private address is refused whole, and
// what was checked is what is dialled: there is no second look-up to rebind.
func TestEgressResolvesOnce(t *testing.T) {
	calls := 0
	e := NewEgress(EgressConfig{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		calls++
		return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("169.254.169.254")}, nil
	}})
	if _, err := e.Get(t.Context(), "http://rebind.example/"); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("got %v", err)
	}
	if calls != 1 {
		t.Errorf("resolved %d times", calls)
	}
}

func FuzzValidTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("00-")
	f.Fuzz(func(t *testing.T, s string) {
		if ValidTraceparent(s) && (len(s) != 55 || strings.ToLower(s) != s) {
			t.Errorf("accepted %q", s)
		}
	})
}

// With SelfSigned a client may present any certificate; Verified tells those of
// the authority from the others.
func TestCertificatesSelfSigned(t *testing.T) {
	ca, err := NewCA("test", time.Now(), time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCA("nobody's", time.Now(), time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	files := writePair(t, t.TempDir(), ca, "known")
	files.RequireClient, files.SelfSigned = false, true
	certs, err := NewCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	handler := certs.Verified(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d presented, %d chains", len(r.TLS.PeerCertificates), len(r.TLS.VerifiedChains))
	}))
	go func() { ended <- NewServer(ServerConfig{Handler: handler, TLS: certs.Config()}).Run(ctx, l) }()
	defer func() { stop(); <-ended }()
	for _, c := range []struct {
		name string
		from *CA
		want string
	}{
		{"of the authority", ca, "1 presented, 1 chains"},
		{"of another", other, "1 presented, 0 chains"},
		{"none", nil, "0 presented, 0 chains"},
	} {
		conf := &tls.Config{RootCAs: ca.Pool()}
		if c.from != nil {
			f := writePair(t, t.TempDir(), c.from, "client")
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if err != nil {
				t.Fatal(err)
			}
			conf.Certificates = []tls.Certificate{pair}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		res, err := client.Get("https://" + l.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.name, got, c.want, err)
		}
	}
}
