package upstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var errPulled = errors.New("pulled")

// TestCordEndsAnExchange: before it begins, while it waits for the head, and amid the
// body; on a connection of ours and on one of net/http's.
func TestCordEndsAnExchange(t *testing.T) {
	at := make(chan struct{}, 16)
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		}
		at <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	plain := httptest.NewServer(http.HandlerFunc(h))
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(h))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(func() { plain.Close(); h2c.Close() })
	for _, url := range []string{plain.URL, strings.Replace(h2c.URL, "http:", "h2c:", 1)} {
		_, p := pool(t, nil, url)
		early := new(Cord)
		early.Pull(errPulled)
		if _, err := p.Do(request("GET", "/head", nil), &Options{Cord: early}); !errors.Is(err, errPulled) {
			t.Errorf("%s, before: %v", url, err)
		}
		for _, path := range []string{"/head", "/body"} {
			c := new(Cord)
			also := make(chan struct{})
			c.Also(func() { close(also) })
			go func() { <-at; c.Pull(errPulled); c.Pull(io.EOF) }()
			resp, err := p.Do(request("GET", path, nil), &Options{Cord: c})
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, errPulled) && (path == "/head" || err == nil) {
				t.Errorf("%s%s: %v", url, path, err)
			}
			if !errors.Is(c.Cause(), errPulled) {
				t.Errorf("cause %v", c.Cause())
			}
			<-also
		}
		for _, tg := range p.targets {
			if tg.fails.Load() != 0 {
				t.Errorf("%s: the server was blamed", url)
			}
		}
	}
}

// TestLateCordLeavesTheConnectionAlone: once an exchange is over its connection is
// another's.
func TestLateCordLeavesTheConnectionAlone(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	defer s.Close()
	_, p := pool(t, nil, s.URL)
	c := new(Cord)
	resp, err := p.Do(request("GET", "/", nil), &Options{Cord: c})
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(resp.Body)
	resp.Body.Close()
	c.Pull(errPulled)
	tg := p.targets[0]
	if len(tg.idle) != 1 || tg.idle[0].closed.Load() {
		t.Error("the kept connection was closed")
	}
}

// TestBrokenBodyIsTheClients: a body that breaks off says nothing about the server.
func TestBrokenBodyIsTheClients(t *testing.T) {
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	plain := httptest.NewServer(h)
	h2c := httptest.NewUnstartedServer(h)
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(func() { plain.Close(); h2c.Close() })
	for _, url := range []string{plain.URL, strings.Replace(h2c.URL, "http:", "h2c:", 1)} {
		_, p := pool(t, nil, url)
		for range 2 * ejectAfter {
			req := request("POST", "/", nil)
			req.Body, req.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{})), -1
			if _, err := p.Do(req, &Options{}); !errors.Is(err, ErrRequestBody) || !errors.Is(err, errPulled) {
				t.Errorf("%s: %v", url, err)
			}
		}
		if healthy, _ := p.Healthy(); healthy != 1 {
			t.Errorf("%s: the server was ejected", url)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errPulled }

func TestBadTrailerBreaksTheBodyOff(t *testing.T) {
	got := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	}))
	defer s.Close()
	_, p := pool(t, nil, s.URL)
	req := request("POST", "/", nil)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader([]byte("x"))), -1
	_, err := p.Do(req, &Options{Trailers: func() http.Header { return http.Header{"X-A": {"b\r\nX-B: c"}} }})
	if !errors.Is(err, ErrRequestBody) || <-got == nil {
		t.Errorf("%v", err)
	}
}
