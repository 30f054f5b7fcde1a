package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// live is a service of long connections beside the common one.
func live(upstream string) string {
	return fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Policy
name: live
audience: [https://live.example]
scopes: [live.listen]
default_scopes: [live.listen]
---
apiVersion: mintmark/v1
kind: Release
name: live/v1
policy: live
upstreams: [{url: "%s"}]
---
apiVersion: mintmark/v1
kind: Service
name: live
audience: [https://live.example]
routes:
- {name: grpc, path: "/grpc.health.v1.Health/*", scopes: [live.listen]}
- {name: ws, path: "/ws", scopes: [live.listen]}
- {name: sse, path: "/events", scopes: [live.listen]}
---
apiVersion: mintmark/v1
kind: Client
name: listener
auth: client_secret_basic
grants: [client_credentials]
scopes: [live.listen]
audiences: [https://live.example]
`, upstream)
}

// listener obtains a token of the listening client and its id.
func (w *world) listener() (token, id string) {
	w.t.Helper()
	a := w.token(w.client, map[string][]string{"grant_type": {"client_credentials"}, "resource": {"https://live.example"}}, "listener", w.secrets["listener"])
	if a.Access == "" {
		w.t.Fatalf("the listener got no token: %s %s", a.Error, a.Description)
	}
	return a.Access, claims(w.t, a.Access)["jti"].(string)
}

// TestGRPC runs grpc-go's own client and server through the gateway, with and
// without TLS.
func TestGRPC(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", secure), func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server, checks := grpc.NewServer(), health.NewServer()
			healthpb.RegisterHealthServer(server, checks)
			go func() { _ = server.Serve(l) }()
			t.Cleanup(server.Stop)
			w := newWorld(t, option{tls: secure, resources: live("h2c://" + l.Addr().String())})
			creds := insecure.NewCredentials()
			if secure {
				creds = credentials.NewTLS(&tls.Config{RootCAs: w.tls().RootCAs})
			}
			_, host, _ := strings.Cut(w.gateway, "://")
			conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(creds))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := healthpb.NewHealthClient(conn)
			token, id := w.listener()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			with := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)

			if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
				t.Errorf("without a token: %v", err)
			}
			res, err := client.Check(with, &healthpb.HealthCheckRequest{})
			if err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("with a token: %v %v", res, err)
			}
			// An error of the service comes through as the service said it, in trailers.
			if _, err := client.Check(with, &healthpb.HealthCheckRequest{Service: "unheard of"}); status.Code(err) != codes.NotFound {
				t.Errorf("the service's own error: %v", err)
			}
			stream, err := client.Watch(with, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatalf("the stream does not begin: %v", err)
			}
			checks.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
			if m, err := stream.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Fatalf("a message on the stream: %v %v", m, err)
			}
			w.revoke("token=" + id)
			// After the acknowledgement nothing may come through any more.
			checks.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
			if m, err := stream.Recv(); err == nil {
				t.Errorf("a message after the revocation was acknowledged: %v", m)
			}
			if _, err := client.Check(with, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
				t.Errorf("a call after the revocation: %v", err)
			}
		})
	}
}

// TestWebSocket echoes through the gateway until the token is taken back.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }})
	up := httptest.NewServer(mux)
	defer up.Close()
	w := newWorld(t, option{resources: live(up.URL)})
	dial := func(token string) (*websocket.Conn, error) {
		c, err := websocket.NewConfig(strings.Replace(w.gateway, "http", "ws", 1)+"/ws", "http://app.example")
		if err != nil {
			t.Fatal(err)
		}
		c.Header.Set("Authorization", "Bearer "+token)
		return c.DialContext(t.Context())
	}
	if _, err := dial("nonsense"); err == nil {
		t.Fatal("a WebSocket opened without a token")
	}
	token, id := w.listener()
	conn, err := dial(token)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func(text string) (string, error) {
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return "", err
		}
		if err := websocket.Message.Send(conn, text); err != nil {
			return "", err
		}
		var got string
		err := websocket.Message.Receive(conn, &got)
		return got, err
	}
	for i := range 3 {
		if got, err := echo(fmt.Sprint("hello ", i)); err != nil || got != fmt.Sprint("hello ", i) {
			t.Fatalf("echo: %q %v", got, err)
		}
	}
	w.revoke("token=" + id)
	if got, err := echo("still there?"); err == nil {
		t.Errorf("an echo after the revocation was acknowledged: %q", got)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Error("the WebSocket was left open")
	}
	if _, err := dial(token); err == nil {
		t.Error("a WebSocket opened with a revoked token")
	}
}

// TestEventStream reads server-sent events until the token is
// taken back.
func TestEventStream(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(rw, "data: %d\n\n", i); err != nil {
				return
			}
			if err := http.NewResponseController(rw).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}))
	defer up.Close()
	w := newWorld(t, option{resources: live(up.URL)})
	token, id := w.listener()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.gateway+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream was answered %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	lines := bufio.NewReader(res.Body)
	for range 10 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("the stream ended by itself: %v", err)
		}
	}
	w.revoke("token=" + id)
	// What was on its way is still read; then it ends, and not as if complete.
	n := 0
	for ; err == nil; n++ {
		_, err = lines.ReadString('\n')
	}
	if errors.Is(err, context.DeadlineExceeded) || n > 5000 {
		t.Errorf("the stream went on for %d lines: %v", n, err)
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended as if it were complete: %v", err)
	}
	w.want("a call after the revocation", w.get(w.client, w.gateway+"/events", "Authorization", "Bearer "+token), 401, "token_revoked")
}

// TestResourceMetadata is what a client that knows nothing needs (RFC 9728).
func TestResourceMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	a := w.get(w.client, w.gateway+"/orders/1")
	w.want("without a token", a, 401, "")
	challenge := a.header.Get("WWW-Authenticate")
	where := w.gateway + "/.well-known/oauth-protected-resource"
	if !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, `resource_metadata="`+where+`"`) || strings.Contains(challenge, "error=") {
		t.Errorf("the challenge is %s", challenge)
	}
	m := w.get(w.client, where)
	w.want("the metadata", m, 200, "")
	var doc struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported"`
	}
	decode(t, m.body, &doc)
	if doc.Resource != w.gateway || len(doc.Servers) != 1 || doc.Servers[0] != w.issuer || strings.Join(doc.Scopes, " ") != "orders.read" {
		t.Errorf("the metadata says %+v", doc)
	}
	// From there to the authorization server's own (RFC 8414).
	var as struct {
		Issuer string `json:"issuer"`
		Token  string `json:"token_endpoint"`
	}
	decode(t, w.get(w.client, doc.Servers[0]+"/.well-known/oauth-authorization-server").body, &as)
	if as.Issuer != w.issuer || as.Token != w.issuer+"/token" {
		t.Errorf("the authorization server says %+v", as)
	}
	insufficient := w.token(w.client, map[string][]string{"grant_type": {"client_credentials"}, "resource": {audience}, "scope": {"orders.write"}}, "machine", w.secrets["machine"])
	a = w.call(insufficient.Access)
	w.want("with another scope", a, 403, "scope_insufficient")
	if c := a.header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="orders.read"`) {
		t.Errorf("the challenge is %s", c)
	}
}
