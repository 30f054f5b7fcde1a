package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
)

// Gateway is a member as people see it.
type Gateway struct {
	Gateway mintmark.GatewayID `json:"gateway"`
	State   string             `json:"state"` // live, silent, left, suspect, removed
	Boot    mintmark.BootID    `json:"boot,omitempty"`
	Term    uint64             `json:"term"`
	Epoch   uint64             `json:"epoch"`
	Seq     uint64             `json:"seq"`
	// Lag is how many rows it is behind; Silent how long it has said nothing, -1
	// when never since control's start.
	Lag    uint64        `json:"lag"`
	Silent time.Duration `json:"silent_ns"`
	// Lease is how much longer, at most, it may hold a lease; 0 when it holds none
	// for certain. MaxBudget is the longest finite budget that its routes allow, 0
	// when all are strict, and Static names those without a bound.
	Lease     time.Duration `json:"lease_ns"`
	MaxBudget time.Duration `json:"max_budget_ns"`
	Static    []string      `json:"static,omitempty"`
	Version   string        `json:"version,omitempty"`
	Inside    bool          `json:"inside,omitempty"` // runs in control's process
	// Credential is until when its credential is good; zero is without end.
	Credential time.Time `json:"credential_ends,omitzero"`
	// Suspect is the last claim of a state-log position that it did not show to be
	// signed, and Refused how many there were since control's start.
	Suspect string `json:"suspect,omitempty"`
	Refused uint64 `json:"claims_refused,omitempty"`
}

// Gateways lists the members by name.
func (f *Fleet) Gateways() []Gateway {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, head := f.cfg.Clock(), f.current.Load().Seq
	out := make([]Gateway, 0, len(f.members))
	for _, id := range slices.Sorted(maps.Keys(f.members)) {
		m := f.members[id]
		if m.doc.Gone != 0 {
			continue
		}
		g := Gateway{
			Gateway: id, State: "silent", Boot: m.boot, Term: m.applied.Term, Epoch: m.applied.Epoch, Seq: m.applied.Seq,
			Lag: head - min(head, m.applied.Seq), Silent: -1, Version: m.software, Inside: m.doc.NKey == "",
			Suspect: m.suspect, Refused: m.refused,
		}
		if !m.endless() {
			g.Credential = f.cfg.Now().Add(m.ends - now).UTC().Truncate(time.Second)
		}
		if m.heard != 0 {
			g.Silent = now - m.heard
		}
		if !m.left {
			g.Lease = max(0, m.answers.latest()+provablyOver(f.cfg.Lease)-now)
		}
		if p := f.epochs[m.applied.Epoch]; p != nil {
			for _, b := range p.budgets {
				g.MaxBudget = max(g.MaxBudget, b.Max)
				g.Static = append(g.Static, b.Static...)
			}
			slices.Sort(g.Static)
		}
		switch {
		case m.doc.Removed:
			g.State = "removed"
		case m.left:
			g.State = "left"
		case m.suspect != "":
			g.State = "suspect"
		case m.heard != 0 && m.maybeLeased(now, f.cfg.Lease):
			g.State = "live"
		}
		out = append(out, g)
	}
	return out
}
