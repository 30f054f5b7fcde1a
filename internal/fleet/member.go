package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/limit"
)

// memberDoc is a gateway as the ledger keeps it (document member/<id>). Members
// are added, never renamed.
type memberDoc struct {
	Gateway mintmark.GatewayID `json:"gateway"`
	NKey    string             `json:"nkey,omitempty"` // empty: in control's own process
	// NKeyEnds is until when NKey is good, in Unix seconds; 0 is without end. Next
	// is the key announced to follow it, good as long.
	NKeyEnds int64  `json:"nkey_ends,omitempty"`
	Next     string `json:"next_nkey,omitempty"`
	// Joined is the state-log number at which it became a member: it starts from a
	// snapshot that is no older, so earlier rows need not wait for it.
	Joined uint64 `json:"joined"`
	// Applied is how far it had come when last noted, and Budgets what it decides
	// by, for a control process that has not heard from it yet. They lag.
	Applied bus.Applied       `json:"applied"`
	Budgets map[string]budget `json:"budgets,omitempty"`
	Version string            `json:"version,omitempty"`
	// Removed is no longer a member, and is waited for until it can't decide any
	// more.
	Removed bool `json:"removed,omitempty"`
	// Gone is the head of the state log when a removed gateway's finite budgets were
	// certainly over: later rows do not concern it, and no list names it. What
	// earlier ones said of it stays in their receipts.
	Gone uint64 `json:"gone,omitempty"`
}

// budget is what one service's routes allow a gateway that hears nothing.
type budget struct {
	// Max is the longest finite budget; 0 is strict.
	Max time.Duration `json:"max_ns,omitempty"`
	// Static names the routes without a bound.
	Static []string `json:"static,omitempty"`
	// Any says that there is a route that looks at tokens at all.
	Any bool `json:"any,omitempty"`
}

// member is a gateway of the fleet. Its fields are guarded by Fleet.mu.
type member struct {
	doc     memberDoc
	version uint64 // of its document
	boot    mintmark.BootID
	applied bus.Applied
	cut     int           // streams cut before the last acknowledgement
	heard   time.Duration // when it last spoke; 0 never since our start
	answers answers
	left    bool // it said goodbye and decides nothing
	// prepared are the manifests it holds ready.
	prepared map[epoch.Hash]bool
	software string
	checked  position // row that it named and that is ours
	// suspect is the last claim that it made and did not show; it stays until the
	// gateway is admitted anew or control starts again. refused counts them, and
	// shown is when evidence was last looked at.
	suspect string
	refused uint64
	shown   time.Duration
	marks   *limit.Held // single-use marks that it has in force
	// ends is when its credential is over, on our clock, and expelled that it was
	// cut for that.
	ends     time.Duration
	expelled bool
}

// position is a row by number and hash.
type position struct {
	seq  uint64
	hash epoch.Hash
}

// maybeLeased reports whether the gateway may hold a lease at now.
func (m *member) maybeLeased(now, lease time.Duration) bool {
	return !m.left && now < m.answers.latest()+provablyOver(lease)
}

// Admit makes a gateway a member, or gives a member a new credential. nkey is
// empty for a gateway in control's own process. further is written in the same
// transaction.
func (f *Fleet) Admit(ctx context.Context, id mintmark.GatewayID, nkey string, further ledger.Batch) error {
	if err := mintmark.CheckGatewayID(id); err != nil {
		return err
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	f.mu.Lock()
	if owner, ok := f.byKey[nkey]; ok && owner != id {
		f.mu.Unlock()
		return fmt.Errorf("%w: the key is gateway %s's: make one of its own", ErrJoin, owner)
	}
	m, known := f.members[id]
	doc, version := memberDoc{Gateway: id, NKey: nkey, Joined: f.current.Load().Seq}, uint64(0)
	var before []string
	if known {
		doc, version = m.doc, m.version
		before = []string{doc.NKey, doc.Next}
		doc.NKey, doc.Next, doc.NKeyEnds, doc.Removed = nkey, "", 0, false
		doc.Gone = 0
	}
	if nkey != "" {
		doc.NKeyEnds = f.cfg.Now().Add(f.cfg.Credential).Unix()
	}
	f.mu.Unlock()
	if known && nkey == "" && m.doc.NKey == "" && !m.doc.Removed && len(further.Events) == 0 {
		return nil // as it is
	}
	version, err := f.writeMember(ctx, "system:fleet", doc, version, further)
	if err != nil {
		return fmt.Errorf("admit gateway %s: %w", id, err)
	}
	// Whoever had the name before, or its key, is cut.
	defer f.expel(id, before...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !known {
		m = &member{prepared: map[epoch.Hash]bool{}, answers: answers{floor: never}, marks: newMarks()}
		f.members[id] = m
	}
	f.unregister(m)
	m.doc, m.version, m.suspect, m.refused = doc, version, "", 0
	f.register(m, f.cfg.Clock())
	f.broadcast()
	return nil
}

// writeMember stores a member's document; for the first one (version 0) its
// stream may hold an earlier, removed member.
func (f *Fleet) writeMember(ctx context.Context, actor string, doc memberDoc, version uint64, further ledger.Batch) (uint64, error) {
	stream := ledger.DocGateway + "/" + string(doc.Gateway)
	body, err := json.Marshal(doc)
	if err != nil {
		return 0, err
	}
	further.Events = append(slices.Clone(further.Events), mintmark.Event{
		Stream: stream, Type: "member.written", Actor: actor, Data: body,
	})
	if version != 0 {
		further.Expect = append(slices.Clone(further.Expect), ledger.Expect{Stream: stream, Version: version})
	}
	if _, err := f.cfg.Ledger.Append(ctx, further); err != nil {
		f.reread(ctx, doc.Gateway)
		return 0, err
	}
	d, err := f.cfg.Store.Document(ctx, ledger.DocGateway, string(doc.Gateway))
	return d.Version, err
}

// reread takes a member's document from the ledger after a write whose outcome is
// not known; when it can't be read the next write conflicts, and ends here again.
// Call with the writer's place.
func (f *Fleet) reread(ctx context.Context, id mintmark.GatewayID) {
	d, err := f.cfg.Store.Document(context.WithoutCancel(ctx), ledger.DocGateway, string(id))
	var doc memberDoc
	if err != nil || json.Unmarshal(d.Body, &doc) != nil {
		return
	}
	var before []string
	defer func() { f.expel(id, before...) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[id]
	if m == nil || m.version == d.Version {
		return
	}
	for _, k := range []string{m.doc.NKey, m.doc.Next} {
		if k != doc.NKey && k != doc.Next {
			before = append(before, k)
		}
	}
	f.unregister(m)
	m.doc, m.version = doc, d.Version
	f.register(m, f.cfg.Clock())
}

// unregister forgets a member's keys, and register makes those of its document
// known, good from a moment of our clock. Call with mu held.
func (f *Fleet) unregister(m *member) {
	delete(f.byKey, m.doc.NKey)
	delete(f.byKey, m.doc.Next)
}

func (f *Fleet) register(m *member, from time.Duration) {
	for _, k := range []string{m.doc.NKey, m.doc.Next} {
		if k != "" {
			f.byKey[k] = m.doc.Gateway
		}
	}
	f.reign(m, from)
}

// Remove makes a gateway a stranger: it gets no further lease, and its credential
// is refused. Until its budgets are over it may go on deciding by what it has, so
// receipts name it until then. Its connections are cut.
func (f *Fleet) Remove(ctx context.Context, id mintmark.GatewayID, actor string) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	f.mu.Lock()
	m, ok := f.members[id]
	var doc memberDoc
	var version uint64
	if ok {
		doc, version = m.doc, m.version
	}
	f.mu.Unlock()
	if !ok || doc.Removed {
		return fmt.Errorf("%w: %s", ErrMember, id)
	}
	keys := []string{doc.NKey, doc.Next}
	doc.NKey, doc.Next, doc.NKeyEnds, doc.Removed = "", "", 0, true
	version, err := f.writeMember(ctx, actor, doc, version, ledger.Batch{})
	if err != nil {
		return fmt.Errorf("remove gateway %s: %w", id, err)
	}
	defer f.expel(id, keys...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unregister(m)
	m.doc, m.version = doc, version
	f.broadcast()
	return nil
}

// loadMembers reads the members at start. Each counts as possibly leased from now
// on: an earlier control process may have answered it up to this moment.
func (f *Fleet) loadMembers(ctx context.Context) error {
	after := ""
	for {
		docs, err := f.cfg.Store.Documents(ctx, ledger.DocGateway, after, 500)
		if err != nil {
			return fmt.Errorf("read the gateways: %w", err)
		}
		if len(docs) == 0 {
			return nil
		}
		for _, d := range docs {
			after = d.ID
			m := &member{version: d.Version, prepared: map[epoch.Hash]bool{}, answers: answers{floor: f.started}, marks: newMarks()}
			if err := json.Unmarshal(d.Body, &m.doc); err != nil {
				return fmt.Errorf("read gateway %s: %w", d.ID, err)
			}
			m.applied, m.software = m.doc.Applied, m.doc.Version
			f.members[m.doc.Gateway] = m
			f.register(m, f.started)
		}
	}
}

// budgetsOf reads what each service of a table allows.
func budgetsOf(t *epoch.Table) map[string]budget {
	out := map[string]budget{}
	for _, r := range t.Routes() {
		if r.Public {
			continue
		}
		service := r.Service.Name
		b := out[service]
		b.Any = true
		switch s := r.Budget; {
		case s.IsStatic():
			b.Static = append(b.Static, r.ID)
		default:
			b.Max = max(b.Max, s.Budget)
		}
		out[service] = b
	}
	return out
}

// spent reports whether all finite budgets of a gateway that gets no lease any more
// are certainly over, under whatever epoch it is on. Call with mu held.
func (f *Fleet) spent(m *member) bool {
	if m.left {
		return true
	}
	cur := f.current.Load()
	budget := f.allowed(m, &barrier{seq: cur.Seq + 1, epoch: cur.Epoch})
	return f.cfg.Clock() >= m.answers.latest()+provablyOver(max(budget.Max, f.cfg.Lease))
}

// noteMembers writes down how far members have come, so that the next control
// process knows which budgets bind those it does not hear from, and which removed
// ones are gone. It may lag: an older note only makes a barrier wait for more.
func (f *Fleet) noteMembers(ctx context.Context) {
	if f.lock(ctx) != nil {
		return
	}
	defer f.unlock()
	type note struct {
		doc     memberDoc
		version uint64
	}
	var notes []note
	f.mu.Lock()
	for _, m := range f.members {
		doc := m.doc
		switch {
		case m.doc.Removed:
			if m.doc.Gone != 0 || !f.spent(m) {
				continue
			}
			doc.Gone = f.current.Load().Seq
		case m.applied.Epoch == m.doc.Applied.Epoch && m.software == m.doc.Version:
			continue
		default:
			doc.Applied, doc.Version = m.applied, m.software
			if p := f.epochs[m.applied.Epoch]; p != nil {
				doc.Budgets = p.budgets
			}
		}
		notes = append(notes, note{doc, m.version})
	}
	f.mu.Unlock()
	for _, n := range notes {
		version, err := f.writeMember(ctx, "system:fleet", n.doc, n.version, ledger.Batch{})
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				f.cfg.Log.Warn("gateway's progress not noted", "gateway", n.doc.Gateway, "error", err)
			}
			return
		}
		f.mu.Lock()
		if m := f.members[n.doc.Gateway]; m != nil {
			m.doc, m.version = n.doc, version
		}
		f.mu.Unlock()
	}
}
