package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mintmark/mintmark"
)

// hidden members of events' data: what only the ledger's own folds need.
var hidden = map[mintmark.EventType][]string{
	mintmark.EventTokenIssued:   {"handle"},
	mintmark.EventFamilyRotated: {"sealed"},
}

// open are the event types whose data people may see. The data of any other is
// left out: documents hold hashes of secrets and wrapped keys.
var open = map[mintmark.EventType]bool{
	mintmark.EventTokenIssued: true, mintmark.EventTokenRevoked: true, mintmark.EventTokenSuspended: true, mintmark.EventTokenRestored: true,
	mintmark.EventTokenSuperseded: true, mintmark.EventFamilyOpened: true, mintmark.EventFamilyRotated: true, mintmark.EventFamilyRevoked: true,
	mintmark.EventGrantMade: true, mintmark.EventGrantRevoked: true, "rollout.written": true, "receipt.written": true, "resource.written": true,
}

// shown returns events as people may see them.
func shown(events []mintmark.Event) []mintmark.Event {
	out := make([]mintmark.Event, 0, len(events))
	for _, e := range events {
		if !open[e.Type] {
			e.Data = nil
		}
		if names := hidden[e.Type]; names != nil {
			var m map[string]json.RawMessage
			if json.Unmarshal(e.Data, &m) != nil {
				m = nil // what can't be read can't be cleaned
			}
			for _, n := range names {
				delete(m, n)
			}
			e.Data, _ = json.Marshal(m) // raw members were valid
		}
		out = append(out, e)
	}
	return out
}

type tail struct {
	After     uint64 `query:"after" doc:"Last ledger number seen; 0 is from the beginning."`
	LastEvent string `header:"Last-Event-ID" maxLength:"20"`
}

// events streams the ledger's events until the caller goes, its token ends or the
// server stops.
func (s *Server) events(ctx context.Context, in *tail) (*huma.StreamResponse, error) {
	if s.cfg.Events == nil {
		return nil, s.problem(notSupported("events"))
	}
	after := in.After
	if in.LastEvent != "" {
		if _, err := fmt.Sscanf(in.LastEvent, "%d", &after); err != nil {
			after = in.After
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{}) // a stream outlives the server's write timeout
		w.WriteHeader(http.StatusOK)
		s.follow(hc.Context(), w, rc, after)
	}}, nil
}

func (s *Server) follow(ctx context.Context, w http.ResponseWriter, rc *http.ResponseController, after uint64) {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for idle := 0; !over(ctx); {
		events, err := s.cfg.Events.EventsAfter(ctx, after, 500)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.Warn("event stream ended", "error", err)
			}
			return
		}
		for _, e := range shown(events) {
			after = e.Seq
			data, err := json.Marshal(e)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, data); err != nil {
				return
			}
		}
		if idle++; len(events) > 0 {
			idle = 0
		} else if idle%20 == 1 {
			// A comment finds out whether the caller is still there.
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil {
				return
			}
		}
		if rc.Flush() != nil {
			return
		}
		if len(events) == 500 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
