package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Run serves the gateways until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	type service struct {
		subject string
		workers int // 0: one at a time, in order
		handle  bus.Handler
	}
	for _, s := range []service{
		{bus.SubjectAck, 0, f.ack},
		{bus.SubjectLease, 0, f.lease},
		{bus.SubjectTail, 4, reply(f.tail)},
		{bus.SubjectSnapshot, 2, reply(f.snapshot)},
		{bus.SubjectParts, 4, reply(f.parts)},
		{bus.SubjectPull, 64, reply(f.pull)},
		{bus.SubjectReissue, 16, reply(f.reissue)},
		{bus.SubjectKeys, 4, reply(f.refreshKeys)},
		{bus.SubjectOnce, 64, reply(f.once)},
		{bus.SubjectCredential, 2, reply(f.credential)},
	} {
		subscribe := func() (func(), error) { return f.cfg.Bus.Subscribe(s.subject+"*", s.handle) }
		if s.workers > 0 {
			subscribe = func() (func(), error) { return f.cfg.Bus.Serve(s.subject+"*", s.workers, s.handle) }
		}
		stop, err := subscribe()
		if err != nil {
			return fmt.Errorf("serve gateways: %w", err)
		}
		defer stop()
	}
	t := time.NewTicker(resumeEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		f.resume(ctx)
		f.endCredentials()
		f.forget(ctx)
		if n%5 == 0 {
			f.noteMembers(ctx)
		}
	}
}

// reply makes a handler of a function from one message to another. A message
// that can't be read is not answered: the asker's own time-out is its answer, and
// no stranger learns more.
func reply[Q, A any](fn func(context.Context, mintmark.GatewayID, Q) A) bus.Handler {
	return func(ctx context.Context, subject string, data []byte) []byte {
		var q Q
		if bus.Decode(data, &q) != nil {
			return nil
		}
		out, err := bus.Encode(fn(ctx, sender(subject), q))
		if err != nil {
			return nil
		}
		return out
	}
}

// sender is the gateway that the bus's permissions let speak on a subject.
func sender(subject string) mintmark.GatewayID {
	return mintmark.GatewayID(subject[strings.LastIndexByte(subject, '.')+1:])
}

// ack notes what a gateway has applied, durably.
func (f *Fleet) ack(_ context.Context, subject string, data []byte) []byte {
	var a bus.Ack
	if bus.Decode(data, &a) != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, cur := f.members[sender(subject)], f.current.Load()
	if m == nil {
		return nil
	}
	at := bus.Applied{Term: a.Term, Epoch: a.Epoch, Seq: a.Seq}
	if what := beyond(at, cur.Term, cur.Epoch, cur.Seq); what != "" {
		f.doubt(m, what) // who truly is there shows it with its next renewal
		return nil
	}
	m.cut = a.StreamsCut
	f.progress(m, a.Boot, at)
	f.broadcast()
	return nil
}

// progress notes how far a gateway has come within our log. Call with mu held.
func (f *Fleet) progress(m *member, boot mintmark.BootID, a bus.Applied) {
	m.boot, m.heard, m.left = boot, f.cfg.Clock(), false
	if a.Seq < m.applied.Seq {
		return // said earlier, arrived later
	}
	if p := f.epochs[a.Epoch]; p != nil {
		a.Manifest = p.snapshot.Manifest.Hash()
	}
	m.applied = a
}

// lease answers a renewal. The head that it names and the note of the answer are
// taken under one lock with commits, so that a barrier for a later row knows of
// every lease that was given without it.
func (f *Fleet) lease(ctx context.Context, subject string, data []byte) []byte {
	var q bus.LeaseRequest
	if bus.Decode(data, &q) != nil {
		return nil
	}
	unproven, err := f.examine(ctx, sender(subject), &q)
	if err != nil {
		return nil // not answered: whether it follows our log is not known now
	}
	out, err := bus.Encode(f.renew(sender(subject), &q, unproven))
	if err != nil {
		return nil
	}
	return out
}

func (f *Fleet) renew(id mintmark.GatewayID, q *bus.LeaseRequest, unproven string) bus.Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur := f.current.Load()
	a := bus.Lease{V: bus.Version, Nonce: q.Nonce, Term: cur.Term, Head: cur.Seq, Wall: f.cfg.Now().UnixMilli()}
	m := f.members[id]
	if m == nil || m.doc.Removed {
		a.Reason = "not a member: join again"
		return a
	}
	// Whatever it has applied, it may be deciding.
	m.software, m.boot, m.heard, m.left = q.Version, q.Boot, f.cfg.Clock(), false
	switch {
	case f.behind != nil:
		a.Reason = "control's ledger is older than what gateways have applied"
	case unproven != "":
		f.doubt(m, unproven)
		a.Prove, a.Reason = true, "control holds no such row: show that it was signed"
	case q.Leaving:
		f.progress(m, q.Boot, bus.Applied{Term: q.Term, Epoch: q.Epoch, Seq: q.Seq})
		m.left = true
		a.Reason = "goodbye"
	default:
		f.progress(m, q.Boot, bus.Applied{Term: q.Term, Epoch: q.Epoch, Seq: q.Seq})
		a.MS = f.cfg.Lease.Milliseconds()
		a.Renew = m.renewDue(f.cfg.Clock(), f.cfg.Credential)
		m.answers.add(a.Head, f.cfg.Clock())
	}
	f.broadcast()
	return a
}

const maxTail = 500

// tail answers with rows after a number.
func (f *Fleet) tail(ctx context.Context, _ mintmark.GatewayID, q bus.TailRequest) bus.Tail {
	limit := q.Limit
	if limit <= 0 || limit > maxTail {
		limit = maxTail
	}
	rows, head, err := f.rowsAfter(ctx, q.From, limit)
	a := bus.Tail{V: bus.Version, Rows: rows, Head: head}
	switch {
	case err != nil:
		a.Error = "the ledger is unavailable"
	case q.From > head:
		a.Reset = true
	default:
		a.Truncated = q.From+uint64(len(rows)) < head
	}
	return a
}

// rowsAfter returns rows after a number, and the head.
func (f *Fleet) rowsAfter(ctx context.Context, from uint64, limit int) ([]epoch.SignedRow, uint64, error) {
	f.mu.Lock()
	head := f.current.Load().Seq
	first := head - uint64(len(f.rows)) + 1 // number of f.rows[0]
	if from >= head || from+1 >= first {
		var out []epoch.SignedRow
		if from < head {
			out = f.rows[from+1-first:]
			out = append([]epoch.SignedRow(nil), out[:min(len(out), limit)]...)
		}
		f.mu.Unlock()
		return out, head, nil
	}
	f.mu.Unlock()
	stored, err := f.cfg.Store.StateRows(ctx, from+1, limit)
	if err != nil {
		return nil, head, fmt.Errorf("read the state log: %w", err)
	}
	var out []epoch.SignedRow
	size := 0
	for _, r := range stored {
		// A row beyond the snapshot in force here is not ours to tell yet.
		if size += len(r.Body); r.Seq > head || len(out) > 0 && size > bus.MaxMessage/4 {
			break
		}
		out = append(out, epoch.SignedRow{Body: r.Body, Signature: r.Signature})
	}
	return out, head, nil
}

// parts answers with bodies by hash, as many as fit.
func (f *Fleet) parts(ctx context.Context, _ mintmark.GatewayID, q bus.PartsRequest) bus.Parts {
	a := bus.Parts{V: bus.Version, Parts: map[string]rawJSON{}}
	size := 0
	for _, hash := range q.Hashes {
		f.mu.Lock()
		body := f.bodies[hash]
		f.mu.Unlock()
		if body == nil {
			var err error
			if body, err = f.body(ctx, hash); err != nil {
				if !errors.Is(err, ledger.ErrNotFound) {
					a.Error = "the ledger is unavailable"
				}
				continue
			}
		}
		if size += len(body); size > bus.MaxMessage-64<<10 && len(a.Parts) > 0 {
			break // asked for again
		}
		a.Parts[hash.String()] = body
	}
	return a
}

// pull asks the authority about a token.
func (f *Fleet) pull(ctx context.Context, _ mintmark.GatewayID, q bus.PullRequest) bus.PullReply {
	f.mu.Lock()
	answerer := f.answerer
	f.mu.Unlock()
	if answerer == nil {
		return bus.PullReply{V: bus.Version, Error: "no authority"}
	}
	a := answerer.Lookup(ctx, q)
	a.V = bus.Version
	return a
}

func (f *Fleet) reissue(ctx context.Context, _ mintmark.GatewayID, q bus.ReissueRequest) bus.ReissueReply {
	f.mu.Lock()
	answerer := f.answerer
	f.mu.Unlock()
	if answerer == nil {
		return bus.ReissueReply{V: bus.Version, Error: "no authority"}
	}
	a := answerer.Reissue(ctx, q)
	a.V = bus.Version
	return a
}

func (f *Fleet) refreshKeys(ctx context.Context, _ mintmark.GatewayID, q bus.KeyRequest) bus.KeyReply {
	f.mu.Lock()
	keys := f.keys
	f.mu.Unlock()
	if keys == nil {
		return bus.KeyReply{V: bus.Version, Error: "no federation"}
	}
	a := keys(ctx, q)
	a.V = bus.Version
	return a
}
