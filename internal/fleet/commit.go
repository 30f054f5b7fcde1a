package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Change is what one row of the state log does.
type Change struct {
	// Kind is apply, rollout, promote, rollback, keys, issuers, revoke, restore.
	Kind    string
	Rollout mintmark.RolloutID
	// Parts are the canonical bodies of parts to put in or replace; nil removes.
	// The others stay. Without any there is no new epoch.
	Parts       map[epoch.PartName][]byte
	Revocations []mintmark.Revocation
	Restores    []mintmark.RevocationID
	// Also is written in the same transaction; its Row and AsOf are ours.
	Also   ledger.Batch
	Actor  string
	Reason string
	// Receipt asks for a receipt, stored as pending in the same transaction and
	// completed by Wait or, when nobody waits, by Run.
	Receipt *ReceiptRequest
}

// Result is what a commit made durable.
type Result struct {
	ledger.Committed
	Row     epoch.Row
	Epoch   uint64 // in force after the row
	Receipt mintmark.ReceiptID
}

// Commit makes a change: prepared at every gateway that answers, then durable in
// the ledger, then in force here, then sent out. On return it has happened,
// whatever the gateways have heard; Wait tells how far it has come. Errors:
// ErrPart, ErrRefused, ErrBehind, ErrUnknown and those of ledger.Append.
func (f *Fleet) Commit(ctx context.Context, c Change) (Result, error) {
	if err := f.lock(ctx); err != nil {
		return Result{}, err
	}
	defer f.unlock()
	if err := f.ready(ctx); err != nil {
		return Result{}, err
	}
	next, err := f.assemble(f.current.Load().Manifest, c.Parts)
	if err != nil {
		return Result{}, err
	}
	if next != nil {
		if err := f.prepare(ctx, next); err != nil {
			return Result{}, err
		}
	}
	// From here on a caller that went away must not leave the outcome unlearnt.
	ctx = context.WithoutCancel(ctx)
	r, err := f.write(ctx, c, next, c.Also)
	if err != nil {
		return Result{}, err
	}
	f.rebase(ctx)
	return r, nil
}

// ready finds out what became of an append whose outcome was not known, and
// refuses to go on with a ledger that is too old.
func (f *Fleet) ready(ctx context.Context) error {
	f.mu.Lock()
	behind := f.behind
	f.mu.Unlock()
	if behind != nil {
		return behind
	}
	if !f.unsure {
		return nil
	}
	before := f.current.Load().Seq
	if err := f.reload(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if now := f.current.Load().Seq; now != before {
		f.cfg.Log.Warn("a commit whose outcome was unknown did happen", "seq", now)
		f.sendSince(ctx, before)
	}
	return nil
}

// prepared is an epoch that compiles.
type prepared struct {
	manifest epoch.Manifest
	hash     epoch.Hash
	body     []byte // the manifest's
	table    *epoch.Table
	bodies   map[epoch.Hash][]byte // of all parts and the manifest
}

// assemble builds the epoch that parts make of a manifest; nil when there are no
// parts.
func (f *Fleet) assemble(m epoch.Manifest, parts map[epoch.PartName][]byte) (*prepared, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	p := &prepared{manifest: m, bodies: map[epoch.Hash][]byte{}}
	for name, body := range parts {
		if body == nil {
			p.manifest = p.manifest.Without(name)
			continue
		}
		hash := epoch.HashOf(body)
		p.bodies[hash] = body
		p.manifest = p.manifest.With(epoch.PartRef{Name: name, Hash: hash})
	}
	for _, ref := range p.manifest.Parts {
		if p.bodies[ref.Hash] == nil {
			p.bodies[ref.Hash] = f.bodies[ref.Hash]
		}
	}
	var err error
	if p.table, err = epoch.Compile(p.manifest, p.bodies); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	if p.body, p.hash, err = epoch.Encode(p.manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	p.bodies[p.hash] = p.body
	return p, nil
}

// write appends the row with all that belongs to it and puts it in force. Call
// with the writer's place.
func (f *Fleet) write(ctx context.Context, c Change, next *prepared, b ledger.Batch) (Result, error) {
	cur := f.current.Load()
	var res Result
	res.Epoch = cur.Epoch
	if next != nil {
		res.Epoch++
		events, err := f.epochEvents(next, res.Epoch, c.Actor)
		if err != nil {
			return Result{}, err
		}
		b.Events = append(slices.Clone(b.Events), events...)
	}
	if err := f.fill(&c); err != nil {
		return Result{}, err
	}
	var receipt mintmark.Receipt
	if c.Receipt != nil {
		receipt = f.newReceipt(c, cur.Seq+1, res.Epoch)
		event, err := receiptEvent(receipt)
		if err != nil {
			return Result{}, err
		}
		b.Events = append(slices.Clone(b.Events), event)
		res.Receipt = receipt.ID
	}
	b.AsOf = cur.Seq
	var signed epoch.SignedRow
	b.Row = func(seq uint64, prev [32]byte, issued uint64) (body, signature []byte, err error) {
		res.Row = f.row(c, seq, prev, issued)
		if next != nil {
			res.Row.Commit = &epoch.Commit{Epoch: res.Epoch, Manifest: next.hash, Kind: c.Kind, Rollout: c.Rollout}
		}
		signed, err = epoch.SignRow(res.Row, f.cfg.Key)
		return signed.Body, signed.Signature, err
	}
	var err error
	res.Committed, err = f.cfg.Ledger.Append(ctx, b)
	if c.Receipt != nil && (err == nil || !definite(err)) {
		f.outstanding(receipt.ID, true) // when it was not written after all, that is found out
	}
	if err != nil {
		// Whatever the ledger did not say in so many words is looked up before the
		// next change.
		f.unsure = !definite(err)
		if errors.Is(err, ledger.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return Result{}, err
	}
	// It has happened. Dying here loses nothing: the next start reads it.
	f.install(res, signed, next)
	f.send(ctx, signed)
	return res, nil
}

// definite reports whether an append's error says that nothing was written.
func definite(err error) bool {
	for _, e := range []error{ledger.ErrConflict, ledger.ErrStale, ledger.ErrUsed, ledger.ErrNotFound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// row builds the row inside the ledger's transaction.
func (f *Fleet) row(c Change, seq uint64, prev [32]byte, issued uint64) epoch.Row {
	now := f.cfg.Now()
	r := epoch.Row{
		Seq: seq, Term: f.term, Prev: prev, At: now.UnixMilli(), Issued: issued,
		Restores: c.Restores, Actor: c.Actor, Reason: c.Reason, KeyID: f.cfg.KeyID,
		Revocations: slices.Clone(c.Revocations), Forget: f.takeDue(),
	}
	for i := range r.Revocations {
		v := &r.Revocations[i]
		if v.Made == 0 {
			v.Made = r.At
		}
		if upToNow(v, f.current.Load().Table.Authority()) {
			// Tokens of ours up to the number reached; of others up to the second
			// that has begun, because iat has that grain.
			v.Cutoff.ToSeq, v.Cutoff.To = issued, now.Unix()+1
		}
	}
	return r
}

// upToNow reports whether a fact without an end means tokens issued until now, so
// that its subject may get new ones; "issued since two o'clock" is one as well.
// Whoever holds a stolen key or speaks for a false issuer chooses the numbers in
// its tokens, and a token, family or grant never comes back: those facts stay
// unbounded. The numbers of our own issuer are ours.
func upToNow(r *mintmark.Revocation, own string) bool {
	s := &r.Selector
	return r.Cutoff.ToSeq == 0 && r.Cutoff.To == 0 && s.IssuedTo.IsZero() &&
		s.Token == "" && s.Family == "" && s.Grant == "" && s.Key == "" && (s.Issuer == "" || s.Issuer == own)
}

// fill gives facts their ids and checks them.
func (f *Fleet) fill(c *Change) error {
	c.Revocations = slices.Clone(c.Revocations)
	for i := range c.Revocations {
		r := &c.Revocations[i]
		if err := r.Selector.Check(); err != nil {
			return err
		}
		if r.ID == "" {
			id, err := f.newID(mintmark.PrefixRevocation)
			if err != nil {
				return err
			}
			r.ID = mintmark.RevocationID(id)
		}
		if r.Action == 0 {
			r.Action = mintmark.ActionRevoke
		}
		if r.Actor == "" {
			r.Actor = c.Actor
		}
		if r.Reason == "" {
			r.Reason = c.Reason
		}
	}
	if c.Receipt != nil && c.Receipt.ID == "" {
		id, err := f.newID(mintmark.PrefixReceipt)
		if err != nil {
			return err
		}
		request := *c.Receipt
		request.ID = mintmark.ReceiptID(id)
		c.Receipt = &request
	}
	return nil
}

func (f *Fleet) newID(prefix string) (string, error) {
	var random [10]byte
	if _, err := f.cfg.Random.Read(random[:]); err != nil {
		return "", fmt.Errorf("make an identifier: %w", err)
	}
	return mintmark.NewID(prefix, f.cfg.Now(), random), nil
}

// epochEvents stores the bodies that the ledger lacks and the name of the epoch.
func (f *Fleet) epochEvents(next *prepared, number uint64, actor string) ([]mintmark.Event, error) {
	events, err := f.bodyEvents(next, actor)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(epochDoc{Epoch: number, Manifest: next.hash})
	return append(events, mintmark.Event{Stream: epochStream, Type: "epoch.committed", Actor: actor, Data: doc}), err
}

func (f *Fleet) bodyEvents(next *prepared, actor string) ([]mintmark.Event, error) {
	names := map[epoch.Hash]epoch.PartName{next.hash: manifestName}
	for _, ref := range next.manifest.Parts {
		names[ref.Hash] = ref.Name
	}
	var events []mintmark.Event
	for hash, name := range names {
		if f.bodies[hash] != nil {
			continue // stored when it came in
		}
		doc, err := bus.Encode(partDoc{Name: name, Body: next.bodies[hash]})
		if err != nil {
			return nil, fmt.Errorf("store part %s: %w", name, err)
		}
		events = append(events, mintmark.Event{Stream: ledger.DocPart + "/" + hash.String(), Type: "part.stored", Actor: actor, Data: doc})
	}
	slices.SortFunc(events, func(a, b mintmark.Event) int { return slices.Compare([]byte(a.Stream), []byte(b.Stream)) })
	return events, nil
}

const keepRows = 4096

// install puts a row that is durable in force in this process.
func (f *Fleet) install(res Result, signed epoch.SignedRow, next *prepared) {
	cur := f.current.Load()
	s := *cur
	s.Term, s.Seq, s.RowHash, s.Epoch = f.term, res.RowSeq, res.RowHash, res.Epoch
	f.mu.Lock()
	defer f.mu.Unlock()
	if next != nil {
		s.Manifest, s.Table = next.manifest, next.table
		for hash, body := range next.bodies {
			f.bodies[hash] = body
		}
	}
	// Facts before the pointer, lifted ones after it: no reader meets the new
	// epoch without what it refuses.
	s.Revoked.Apply(res.Row.Revocations...)
	f.current.Store(&s)
	s.Revoked.Restore(res.Row.Restores...)
	if res.Row.Forget != 0 {
		s.Revoked.Forget(res.Row.Forget)
		f.due = 0
	}
	if next != nil {
		f.epochs[s.Epoch] = &past{snapshot: &s, budgets: budgetsOf(s.Table)}
		f.forgetEpochs()
	}
	f.rows = append(f.rows, signed)
	if len(f.rows) > keepRows {
		f.rows = slices.Clone(f.rows[len(f.rows)-keepRows/2:])
	}
	f.when[s.Seq] = f.cfg.Clock()
	delete(f.when, s.Seq-keepRows)
	f.broadcast()
}

// forgetEpochs drops those that no member is on. Call with mu held.
func (f *Fleet) forgetEpochs() {
	lowest := f.current.Load().Epoch
	for _, m := range f.members {
		if m.doc.Gone == 0 {
			lowest = min(lowest, m.applied.Epoch)
		}
	}
	for n := range f.epochs {
		// The one before stays for Settled, and 64 at most for one far behind.
		if n+1 < lowest || n+64 < f.current.Load().Epoch {
			delete(f.epochs, n)
		}
	}
}

// send tells everybody about a row. Whoever misses it sees the gap at the next
// renewal.
func (f *Fleet) send(ctx context.Context, row epoch.SignedRow) {
	data, err := bus.Encode(bus.StateMessage{V: bus.Version, Row: row})
	if err == nil {
		err = f.cfg.Bus.Publish(ctx, bus.SubjectState, data)
	}
	if err != nil {
		f.cfg.Log.Warn("state row not sent; gateways will ask for it", "error", err)
	}
}

func (f *Fleet) sendSince(ctx context.Context, after uint64) {
	rows, err := f.cfg.Store.StateRows(ctx, after+1, 1000)
	if err != nil {
		f.cfg.Log.Warn("state rows not sent; gateways will ask for them", "error", err)
	}
	for _, r := range rows {
		f.send(ctx, epoch.SignedRow{Body: r.Body, Signature: r.Signature})
	}
}
