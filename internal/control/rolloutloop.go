package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

// Analyst judges the candidates of open rollouts; see analysis.Analysis. Control
// owns when: open before the first subject is exposed, closed once the rollout is
// over. All methods may be called concurrently.
type Analyst interface {
	// Baseline returns thresholds of latency from the answers of a release so far, in
	// microseconds; nil when there were too few.
	Baseline(r mintmark.ReleaseID) []int64
	// Open begins to judge; again with the same opening, also after a restart, it
	// changes nothing.
	Open(ctx context.Context, o health.Opening) error
	// Health returns the newest report; false when the rollout is not judged.
	Health(id mintmark.RolloutID) (health.Report, bool)
	// Reports returns the newest report of each rollout that is judged.
	Reports() []health.Report
	// Close ends it; what is not judged is closed already.
	Close(ctx context.Context, id mintmark.RolloutID) error
}

// tickEvery is how often open rollouts are looked at.
const tickEvery = 250 * time.Millisecond

// Run moves open rollouts forward, and takes back those that fail, until ctx ends.
// It is the one goroutine that moves them by themselves; people's verbs come in
// beside it and are told apart by compare and set. After a restart the first look
// comes at once: what a crash interrupted goes on from what is durable.
func (c *Control) Run(ctx context.Context) error {
	every := c.cfg.Tick
	if every <= 0 {
		every = tickEvery
	}
	t := time.NewTicker(every)
	defer t.Stop()
	watched := map[mintmark.RolloutID]bool{}
	var waits sync.WaitGroup
	defer waits.Wait()
	for {
		for _, id := range c.tick(ctx, watched) {
			waits.Go(func() { c.attend(ctx, id) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// followFor is how long a receipt of what happened by itself is followed closely;
// later the state log completes it in its own time.
const followFor = time.Minute

// attend waits for a receipt that nobody else waits for, so that it says when each
// gateway had applied the row, and not when somebody looked.
func (c *Control) attend(ctx context.Context, id mintmark.ReceiptID) {
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	if _, err := c.cfg.StateLog.Wait(ctx, id); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("receipt not followed", "receipt", id, "error", err)
	}
}

// tick looks at every open rollout once and returns the receipts of what it did.
// watched are those seen open before: one that is no longer is closed at the
// analyst.
func (c *Control) tick(ctx context.Context, watched map[mintmark.RolloutID]bool) (made []mintmark.ReceiptID) {
	open := map[mintmark.RolloutID]bool{}
	for _, e := range c.cfg.State.Current().Table.Services() {
		id := e.Split.Rollout
		if id == "" {
			continue
		}
		open[id], watched[id] = true, true
		receipt, err := c.tickRollout(ctx, string(id))
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrConflict) {
			c.cfg.Log.Error("rollout could not go on; it is tried again", "rollout", id, "error", err)
		}
		if receipt != "" {
			made = append(made, receipt)
		}
	}
	for id := range watched {
		if !open[id] {
			c.unwatch(ctx, id)
			delete(watched, id)
		}
	}
	return made
}

// TickRollout lets time pass for one rollout. Run does the same; so may a test.
func (c *Control) TickRollout(ctx context.Context, id string) error {
	_, err := c.tickRollout(ctx, id)
	return err
}

// tickRollout is TickRollout, and returns the receipt of what it did; "" for
// nothing that gateways hear of.
func (c *Control) tickRollout(ctx context.Context, id string) (mintmark.ReceiptID, error) {
	r, _, err := c.find(ctx, id)
	if err != nil {
		return "", err
	}
	// Nearly always nothing is to be done: that is found out from one document.
	in := rollout.Input{Now: c.cfg.Now().UnixMilli(), Health: c.health(ctx, &r), Freeze: c.freezes(r.Service)}
	if _, actions, err := rollout.Step(r, in); err != nil || len(actions) == 0 {
		return "", err
	}
	_, receipt, err := c.drive(ctx, string(r.ID), rollout.Input{Health: in.Health}, api.StepRequest{})
	if err != nil || receipt == r.Receipt {
		return "", err
	}
	return receipt, nil
}

// opening is what a rollout is judged by. The epoch's watch says whether latency
// was frozen: it is the same after a restart.
func opening(r *rollout.Rollout, w *epoch.Watch) health.Opening {
	o := health.Opening{Rollout: r.ID, Service: r.Service, Stable: r.Stable, Candidate: r.Candidate}
	if r.Spec != nil && r.Spec.Analysis != nil {
		o.Spec = r.Spec.Analysis.Spec
	}
	o.Latency = w != nil && len(w.LatencyUS) > 0
	return o
}

// watch begins to judge a rollout that is about to start: before the epoch that
// exposes the first subject. It returns what gateways must look for.
func (c *Control) watch(ctx context.Context, r *rollout.Rollout) (*epoch.Watch, error) {
	if c.cfg.Analyst == nil {
		if r.Spec != nil && r.Spec.Analysis != nil {
			return nil, invalid("this control plane has no analysis: remove analysis and gates")
		}
		return nil, nil
	}
	w := &epoch.Watch{LatencyUS: c.cfg.Analyst.Baseline(mintmark.NewReleaseID(r.Service, r.Stable))}
	if r.Spec != nil && r.Spec.Analysis != nil {
		for _, u := range r.Spec.Analysis.User {
			w.User = append(w.User, epoch.Expression{Name: u.Name, When: u.When})
		}
	}
	if err := c.cfg.Analyst.Open(ctx, opening(r, w)); err != nil {
		if errors.Is(err, health.ErrSpec) {
			return nil, invalid(err.Error())
		}
		return nil, err
	}
	if len(w.LatencyUS)+len(w.User) == 0 {
		w = nil
	}
	return w, nil
}

func (c *Control) unwatch(ctx context.Context, id mintmark.RolloutID) {
	if c.cfg.Analyst == nil {
		return
	}
	if err := c.cfg.Analyst.Close(ctx, id); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("analysis not closed", "rollout", id, "error", err)
	}
}

// health is the newest report about an open rollout; nil when there is none. One
// that is not judged though it is open, because a crash came between, is opened.
func (c *Control) health(ctx context.Context, r *rollout.Rollout) *health.Report {
	if c.cfg.Analyst == nil || !r.State.Open() {
		return nil
	}
	if h, ok := c.cfg.Analyst.Health(r.ID); ok {
		return &h
	}
	if e := c.cfg.State.Current().Table.Service(r.Service); e != nil && e.Split.Rollout == r.ID {
		if err := c.cfg.Analyst.Open(ctx, opening(r, e.Split.Watch)); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("rollout is not judged", "rollout", r.ID, "error", err)
		}
	}
	return nil
}

// freeze is a Freeze resource in force.
type freeze struct {
	services []string // none means all
	windows  []rollout.Window
}

// readFreezes takes the freeze windows of the installation from the resources in
// force. When they can't be read, those that were known stay.
func (c *Control) readFreezes(ctx context.Context) {
	var out []freeze
	err := documents(ctx, c.cfg.Store, ledger.DocResource, func(_ ledger.Document, f policy.Freeze) error {
		if f.Kind == policy.KindFreeze {
			name := f.Name
			w := rollout.Windows(f.Windows)
			for i := range w {
				if w[i].Name == "" {
					w[i].Name = name
				}
			}
			out = append(out, freeze{services: f.Services, windows: w})
		}
		return nil
	})
	if err != nil {
		c.cfg.Log.Error("freeze windows not read", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = out
}

// freezes are the windows that hold a service's rollouts.
func (c *Control) freezes(service string) []rollout.Window {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []rollout.Window
	for _, f := range c.frozen {
		if len(f.services) == 0 || contains(f.services, service) {
			out = append(out, f.windows...)
		}
	}
	return out
}
