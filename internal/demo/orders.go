package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Orders is one release of the sample service: a plain HTTP server that trusts
// the identity headers of the gateway and says which release answered.
type Orders struct {
	Release string
	// Served counts answered requests.
	Served atomic.Int64

	fault    atomic.Pointer[fault] // nil is none; how a release turns out bad upstream
	listener net.Listener
	server   *http.Server
}

// misbehave makes the release's servers behave so from now on.
func (o *Orders) misbehave(f fault) { o.fault.Store(&f) }

// at is the fault of the release's servers.
func (o *Orders) at() fault {
	if f := o.fault.Load(); f != nil {
		return *f
	}
	return healthy
}

// NewOrders listens on a free loopback port. Run serves.
func NewOrders(release string) (*Orders, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sample service %s: %w", release, err)
	}
	o := &Orders{Release: release, listener: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /orders/events", o.events)
	mux.HandleFunc("/", o.answer)
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return o, nil
}

// URL is where the release answers.
func (o *Orders) URL() string { return "http://" + o.listener.Addr().String() }

// Run serves until ctx ends.
func (o *Orders) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.server.Close() })
	defer stop()
	if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sample service %s: %w", o.Release, err)
	}
	return nil
}

// answer is what the sample service says to every order.
type answer struct {
	Release string `json:"release"`
	Path    string `json:"path"`
	Subject string `json:"subject,omitempty"`
	Token   string `json:"token_id,omitempty"`
	Minted  string `json:"minted_by,omitempty"`
}

func (o *Orders) answer(w http.ResponseWriter, r *http.Request) {
	o.Served.Add(1)
	w.Header().Set("Orders-Release", o.Release)
	switch o.at() {
	case serverErrors:
		http.Error(w, "the release is broken on purpose", http.StatusInternalServerError)
		return
	case upstream401:
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the release is broken on purpose", http.StatusUnauthorized)
		return
	case slow:
		if sleep(r.Context(), slowness) != nil {
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer{
		Release: o.Release, Path: r.URL.Path,
		Subject: r.Header.Get("Mintmark-Token-Subject"),
		Token:   r.Header.Get("Mintmark-Token-Id"),
		Minted:  r.Header.Get("Mintmark-Token-Release"),
	})
}

// events streams one event a second for ever (server-sent events): an open
// stream that a revocation has to cut.
func (o *Orders) events(w http.ResponseWriter, r *http.Request) {
	o.Served.Add(1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Orders-Release", o.Release)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		if _, err := fmt.Fprintf(w, "data: order %d\n\n", n); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
