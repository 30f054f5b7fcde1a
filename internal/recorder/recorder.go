// Package recorder answers: did what the gateways saw reach the ledger, exactly
// once?
//
// It takes records off the bus's queue and appends each as one event on its
// gateway's stream. The ledger refuses a batch that it has folded before by
// (gateway, boot, number), so that any record may be delivered any number of
// times, in any order. A record that can't be folded is kept as it is, counted, and
// its number used up, so that the others flow. Only after the append is durable is
// the gateway told that it may forget: dying anywhere in between delivers again.
package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Ledger appends. See ledger.Ledger.
type Ledger interface {
	Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error)
}

// Store reads what was folded.
type Store interface {
	// Recorded returns up to which batch of a gateway's boot all are folded.
	Recorded(ctx context.Context, gateway mintmark.GatewayID, boot mintmark.BootID) (uint64, error)
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
}

// Config is what a recorder is made of; all members are required but those
// that say what nil means.
type Config struct {
	Ledger  Ledger
	Store   Store
	Records bus.Records
	Bus     bus.Conn
	// Folded is called after each batch that was new, for metrics; nil is not.
	Folded func(b *bus.RecordBatch)
	// SetAside is called after each record that was set aside, for metrics; nil is
	// not.
	SetAside func(s *SetAside)
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil discards
}

// Recorder carries records into the ledger.
type Recorder struct{ cfg Config }

// New returns a recorder that does nothing yet. Call Run.
func New(cfg Config) *Recorder {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg}
}

// Run records until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	if err := r.cfg.Records.ConsumeRecords(ctx, r.record); err != nil && ctx.Err() == nil {
		return fmt.Errorf("take records: %w", err)
	}
	return nil
}

// record folds one batch. An error asks for the batch again.
func (r *Recorder) record(ctx context.Context, subject string, data []byte) error {
	var b bus.RecordBatch
	if err := bus.Decode(data, &b); err != nil {
		return r.setAside(ctx, subject, data, err)
	}
	if subject != bus.SubjectRecords+string(b.Gateway) || mintmark.CheckGatewayID(b.Gateway) != nil {
		// The bus lets a gateway send under its own subject only; a batch that names
		// another one is a lie.
		return r.setAside(ctx, subject, data, fmt.Errorf("batch names gateway %.70q", b.Gateway))
	}
	if err := validate(&b); err != nil {
		return r.setAside(ctx, subject, data, err)
	}
	events, err := r.events(&b, data)
	if err != nil {
		return r.setAside(ctx, subject, data, err)
	}
	_, err = r.cfg.Ledger.Append(ctx, ledger.Batch{Events: events})
	switch {
	case errors.Is(err, ledger.ErrUsed):
		// Delivered before; the gateway may not have heard so.
	case errors.Is(err, ledger.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		r.cfg.Log.Warn("records wait for the ledger", "gateway", b.Gateway, "boot", b.Boot, "seq", b.Seq, "error", err)
		return err
	case err != nil:
		return r.setAside(ctx, subject, data, err)
	default:
		if b.Lost {
			r.cfg.Log.Warn("gateway did not end cleanly: up to one interval of its counts is missing", "gateway", b.Gateway, "boot", b.Boot)
		}
		if r.cfg.Folded != nil {
			r.cfg.Folded(&b)
		}
	}
	r.tell(ctx, &b)
	return nil
}

// events makes a batch's events: its own on the gateway's stream, and what rollouts
// are judged by on the stream of health, in one append, so that both are there once
// or not at all. Durations alone stay in the batch.
func (r *Recorder) events(b *bus.RecordBatch, data []byte) ([]mintmark.Event, error) {
	source := "gateway:" + string(b.Gateway)
	own := mintmark.Event{Stream: "gateway/" + string(b.Gateway), Type: mintmark.EventUsageRecorded, Actor: source, Data: data}
	judged := health.Record{Source: source, At: b.To}
	for _, packed := range b.Health {
		d, err := health.DecodeDelta(packed)
		switch {
		case err != nil:
			// It may come from a later version: kept as it is, for one that can read it.
			r.cfg.Log.Warn("health of a gateway's traffic not read", "gateway", b.Gateway, "error", err)
		case len(d.Sections) > 0:
			judged.Deltas = append(judged.Deltas, packed)
		}
	}
	if len(judged.Deltas) == 0 && len(b.Shapes) == 0 {
		return []mintmark.Event{own}, nil
	}
	without := *b
	without.Shapes = nil // samples: they may be forgotten, and what is in the ledger may not
	events := make([]mintmark.Event, 1, 2)
	if len(judged.Deltas) > 0 {
		without.Health = nil
		also, err := judged.Event()
		if err != nil {
			return nil, err
		}
		events = append(events, also)
	}
	var err error
	if own.Data, err = bus.Encode(without); err != nil {
		return nil, err
	}
	events[0] = own
	return events, nil
}

// tell lets the gateway forget. A lost message costs one more delivery.
func (r *Recorder) tell(ctx context.Context, b *bus.RecordBatch) {
	upto, err := r.cfg.Store.Recorded(ctx, b.Gateway, b.Boot)
	if err != nil {
		r.cfg.Log.Warn("gateway not told of its records", "gateway", b.Gateway, "error", err)
		return
	}
	m := bus.Recorded{V: bus.Version, Boot: b.Boot, Seq: upto}
	if b.Seq > upto {
		m.Also = []uint64{b.Seq}
	}
	data, err := bus.Encode(m)
	if err == nil {
		err = r.cfg.Bus.Publish(ctx, fmt.Sprintf(bus.SubjectRecorded, b.Gateway), data)
	}
	if err != nil {
		r.cfg.Log.Warn("gateway not told of its records", "gateway", b.Gateway, "error", err)
	}
}
