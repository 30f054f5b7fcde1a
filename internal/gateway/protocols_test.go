package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/identity"
)

// revoke takes alice's tokens back as the follower does: facts first, then Cut.
func (r *rig) revoke() int {
	snap := r.state.Current()
	snap.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "alice"}})
	return r.gateway.Cut(snap)
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := health.NewServer()
	gs := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		grpc.SetTrailer(ctx, metadata.Pairs("x-subject", strings.Join(md["mintmark-token-subject"], ","), "mintmark-token-id", "forged"))
		return h(ctx, req)
	}))
	healthpb.RegisterHealthServer(gs, hs)
	go gs.Serve(l)
	defer gs.Stop()
	r := newRig(t, service("h2c://"+l.Addr().String()), func(_ *Config, s *arrival.ServerConfig) { s.H2C = true })
	conn, err := grpc.NewClient(r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer good", "mintmark-token-subject", "mallory"), 10*time.Second)
	defer cancel()
	var trailer metadata.MD
	resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer))
	if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v %v", resp, err)
	}
	if got := trailer["x-subject"]; len(got) != 1 || got[0] != "alice" {
		t.Errorf("upstream saw subject %v", got)
	}
	if trailer["mintmark-token-id"] != nil {
		t.Errorf("forged trailer passed")
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
	bare, cancel2 := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel2()
	if _, err := client.Check(bare, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if n := r.revoke(); n != 1 {
		t.Errorf("cut %d streams, want 1", n)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("stream of a revoked token went on")
	}
}

func TestEventStreamFlowsAndIsCut(t *testing.T) {
	gone := make(chan struct{})
	r := newRig(t, service(server(t, func(w http.ResponseWriter, req *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})))
	resp, err := http.DefaultClient.Do(r.request("GET", "/events", "good"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	if line, err := br.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	r.token("bob", func(t *mintmark.Token) { t.Subject = "bob" })
	start := time.Now()
	if n := r.revoke(); n != 1 {
		t.Errorf("cut %d, want 1", n)
	}
	if _, err := io.ReadAll(br); err == nil {
		t.Error("the stream ended as if it were complete")
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the upstream was not told")
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("cut took %v", d)
	}
	eventually(t, "exchange is forgotten", func() bool { return r.gateway.Open() == 0 })
	if resp, _ := r.get("/x", "good"); resp.StatusCode != 401 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// echoUpgrade is a server that switches to a protocol which echoes lines.
func echoUpgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get(identity.Subject) != "alice" {
		http.Error(w, "no", 400)
		return
	}
	c, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	for {
		line, err := buf.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(c, "echo "+line)
	}
}

func TestWebSocketIsTunnelledAndCut(t *testing.T) {
	r := newRig(t, service(server(t, echoUpgrade)))
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") == "" || resp.Header.Get(identity.TokenID) != "tok_good" {
		t.Fatalf("%v %v", resp, err)
	}
	// Bytes that would be ambiguous HTTP must pass a tunnel untouched.
	for _, line := range []string{"hello\n", "Content-Length: x\n", " folded\n"} {
		io.WriteString(c, line)
		if got, err := br.ReadString('\n'); err != nil || got != "echo "+line {
			t.Fatalf("%q %v", got, err)
		}
	}
	if n := r.revoke(); n != 1 {
		t.Errorf("cut %d, want 1", n)
	}
	if _, err := br.ReadString('\n'); err == nil {
		t.Error("tunnel of a revoked token went on")
	}
}

func TestLongUploadIsCut(t *testing.T) {
	r := newRig(t, service(server(t, func(_ http.ResponseWriter, req *http.Request) { io.Copy(io.Discard, req.Body) })))
	pr, pw := io.Pipe()
	req := r.request("POST", "/up", "good")
	req.Body, req.ContentLength = pr, -1
	done := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	fmt.Fprint(pw, "some")
	eventually(t, "upload in flight", func() bool { return r.gateway.Open() == 1 })
	if n := r.revoke(); n != 1 {
		t.Errorf("cut %d", n)
	}
	select {
	case code := <-done:
		if code != 401 && code != 0 {
			t.Errorf("upload of a revoked token: %d", code)
		}
	case <-time.After(5 * time.Second):
		t.Error("upload went on")
	}
	pw.Close()
}

func TestHTTP2OverTLS(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	tlsConfig := &tls.Config{Certificates: cert.TLS.Certificates}
	cert.Close()
	r := newRig(t, service(server(t, echo)), func(_ *Config, s *arrival.ServerConfig) { s.TLS = tlsConfig })
	for _, h2 := range []bool{true, false} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP2(h2)
		tr.Protocols.SetHTTP1(!h2)
		req := r.request("GET", "/x", "good")
		req.URL.Scheme = "https"
		req.Header.Set("mintmark_subject", "mallory")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		s := decode(t, string(b))
		if (resp.ProtoMajor == 2) != h2 || s.Header.Get("X-Forwarded-Proto") != "https" || strings.Contains(string(b), "mallory") {
			t.Errorf("h2 %v: proto %s, upstream saw %v", h2, resp.Proto, s.Header)
		}
	}
}

func TestTrailersAndEarlyHints(t *testing.T) {
	r := newRig(t, service(server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Mintmark-Token-Subject", "mallory")
	})))
	resp, body := r.get("/x", "good")
	if body != "body" || resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("Mintmark-Token-Subject") != "" {
		t.Errorf("%q, trailers %v", body, resp.Trailer)
	}
}

func TestAmbiguousFramingIsRefused(t *testing.T) {
	reached := false
	r := newRig(t, service(server(t, func(http.ResponseWriter, *http.Request) { reached = true })))
	auth := "Authorization: Bearer good\r\n"
	for name, text := range map[string]string{
		"CL and TE":           "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE and CL":           "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
		"CL twice, different": "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"CL twice, same":      "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"CL list":             "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 1, 1\r\n\r\na",
		"CL with sign":        "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: +1\r\n\r\na",
		"TE twice":            "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE identity":         "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: identity\r\n\r\n",
		"TE list":             "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"TE obscured":         "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"space before colon":  "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length : 1\r\n\r\na",
		"folded line":         "GET / HTTP/1.1\r\nHost: x\r\n" + auth + "X-A: b\r\n c\r\n\r\n",
		"bare LF":             "GET / HTTP/1.1\nHost: x\n" + auth + "\n\n",
		"bare CR":             "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n" + auth + "\r\n",
		"NUL":                 "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n" + auth + "\r\n",
		"two hosts":           "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n" + auth + "\r\n",
		"spaces in line":      "GET  / HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n",
	} {
		if code := raw(t, r.addr, text); code != 400 && code != 501 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if reached {
		t.Error("the upstream was reached")
	}
	for name, text := range map[string]string{
		"bad size":      "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
		"size too long": "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n00000000000000000001\r\na\r\n0\r\n\r\n",
		"extension":     "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n\"\r\na\r\n0\r\n\r\n",
		"bare LF":       "POST / HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
	} {
		if code := raw(t, r.addr, text+"GET /smuggled HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n"); code == 200 {
			t.Errorf("chunks, %s: %d", name, code)
		}
	}
}

func raw(t *testing.T, addr, text string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, text)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestPipelinedRequestsAreServedInOrder(t *testing.T) {
	r := newRig(t, service(server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, r.URL.Path)
	})))
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	const auth = "Host: x\r\nAuthorization: Bearer good\r\n"
	io.WriteString(c, "POST /1 HTTP/1.1\r\n"+auth+"Content-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\n"+auth+"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n"+auth+"\r\n")
	br := bufio.NewReader(c)
	for _, want := range []string{"/1", "/2", "/3"} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		if string(b) != want {
			t.Errorf("got %q, want %q", b, want)
		}
	}
}
