package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mintmark/mintmark/api"
)

// rolloutEvents streams what happens to one rollout: "rollout.written" with the
// ledger's event each time that its document changes, and "gate" with the verdict
// each time that changes, at most every second. It begins with the verdict, and ends
// when the caller goes, its token ends or the server stops. Ids are versions of the document.
func (s *Server) rolloutEvents(ctx context.Context, in *struct {
	ID        string `path:"id" maxLength:"255"`
	LastEvent string `header:"Last-Event-ID" maxLength:"20"`
},
) (*huma.StreamResponse, error) {
	if s.cfg.Events == nil {
		return nil, s.problem(notSupported("events"))
	}
	first, err := s.cfg.Control.Gate(ctx, in.ID, 0) // also: is there such a rollout?
	if err != nil {
		return nil, s.problem(err)
	}
	r, err := s.cfg.Control.Rollout(ctx, string(first.Rollout))
	if err != nil {
		return nil, s.problem(err)
	}
	after := r.Version
	if in.LastEvent != "" {
		var last uint64
		if _, err := fmt.Sscanf(in.LastEvent, "%d", &last); err == nil {
			after = min(after, last)
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{}) // a stream outlives the server's write timeout
		w.WriteHeader(http.StatusOK)
		f := follower{s: s, w: w, rc: rc, stream: "rollout/" + string(first.Rollout), id: string(first.Rollout), after: after}
		f.run(hc.Context(), first)
	}}, nil
}

// follower writes one rollout's stream.
type follower struct {
	s      *Server
	w      http.ResponseWriter
	rc     *http.ResponseController
	stream string
	id     string
	after  uint64 // version of the document that was sent last
	last   []byte // the verdict as it was written last, without its time
}

func (f *follower) run(ctx context.Context, gate *api.Gate) {
	tick := time.NewTicker(f.s.cfg.Poll)
	defer tick.Stop()
	judged := time.Now()
	if f.verdict(gate) != nil || f.rc.Flush() != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if over(ctx) || f.written(ctx) != nil {
			return
		}
		if time.Since(judged) >= time.Second {
			judged = time.Now()
			g, err := f.s.cfg.Control.Gate(ctx, f.id, 0)
			if err != nil || f.verdict(g) != nil {
				return
			}
		}
		if f.rc.Flush() != nil {
			return
		}
	}
}

// written sends the rollout's documents that came since.
func (f *follower) written(ctx context.Context) error {
	for {
		events, err := f.s.cfg.Events.Events(ctx, f.stream, f.after, 500)
		if err != nil {
			return err
		}
		for _, e := range shown(events) {
			f.after = e.Version
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f.w, "id: %d\nevent: %s\ndata: %s\n\n", e.Version, e.Type, data); err != nil {
				return err
			}
		}
		if len(events) < 500 {
			return nil
		}
	}
}

// verdict sends the gate when it says something new.
func (f *follower) verdict(g *api.Gate) error {
	timeless := *g
	timeless.At = time.Time{}
	now, err := json.Marshal(timeless)
	if err != nil || bytes.Equal(now, f.last) {
		if err == nil {
			_, err = fmt.Fprint(f.w, ": still here\n\n") // finds out whether the caller is
		}
		return err
	}
	f.last = now
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.w, "event: gate\ndata: %s\n\n", data)
	return err
}
