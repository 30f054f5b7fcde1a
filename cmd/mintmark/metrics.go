package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/recorder"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/usage"
)

type gatewayMetrics = prometheus.Registerer

// metricSet are the control plane's metrics.
type metricSet struct {
	issuer    string // our own
	control   *telemetry.Control
	tokens    *telemetry.Tokens
	recorder  *telemetry.Recorder
	authority *telemetry.Authority
}

func (p *plane) newMetrics() *metricSet {
	return &metricSet{
		issuer: p.cfg.Issuer, control: telemetry.NewControl(p.registry, p.controlState), tokens: telemetry.NewTokens(p.registry),
		recorder: telemetry.NewRecorder(p.registry), authority: telemetry.NewAuthority(p.registry),
	}
}

// controlState reads the state log and its members for one scrape.
func (p *plane) controlState() telemetry.ControlState {
	if p.fleet == nil || p.fleet.Current() == nil {
		return telemetry.ControlState{}
	}
	now := p.fleet.Current()
	s := telemetry.ControlState{Epoch: now.Epoch, Seq: now.Seq, Term: now.Term, Revocations: now.Revoked.Len(), ClaimsRefused: p.fleet.ClaimsRefused()}
	if settled := p.fleet.Settled(); settled != nil {
		s.Settled = settled.Epoch
	}
	for _, g := range p.fleet.Gateways() {
		s.Gateways = append(s.Gateways, telemetry.Member{Gateway: g.Gateway, State: g.State, Behind: g.Lag})
	}
	return s
}

// meteredLedger counts what became durable. Everybody who appends goes through it.
type meteredLedger struct {
	*ledger.Ledger
	m *metricSet
}

// Append is the ledger's.
func (l meteredLedger) Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error) {
	start := time.Now()
	c, err := l.Ledger.Append(ctx, b)
	switch {
	case err == nil:
		telemetry.Since(l.m.tokens.Append, start, time.Now())
		for i := range b.Events {
			l.m.happened(&b.Events[i])
		}
	case errors.Is(err, ledger.ErrUnavailable):
		l.m.tokens.Failed.Inc()
	case errors.Is(err, ledger.ErrUsed) && len(b.Events) == 1 && b.Events[0].Type == mintmark.EventUsageRecorded:
		l.m.recorder.Duplicates.Inc()
	}
	return c, err
}

// happened counts one durable event.
func (m *metricSet) happened(e *mintmark.Event) {
	one := telemetry.Count{Release: e.Release, Client: e.Client, Issuer: m.issuer, Tokens: 1}
	switch e.Type {
	case mintmark.EventTokenIssued:
		var issued struct {
			Token struct {
				Kind mintmark.TokenKind `json:"kind"`
			} `json:"token"`
		}
		if json.Unmarshal(e.Data, &issued) == nil {
			m.tokens.Issued(issued.Token.Kind, e.Release, e.Client, m.issuer)
		}
	case mintmark.EventFamilyRotated:
		m.tokens.Renewed(e.Release, e.Client, m.issuer)
	case mintmark.EventTokenSuperseded:
		m.tokens.Ended(mintmark.StateSuperseded, one)
	case mintmark.EventTokenRevoked:
		m.tokens.Ended(mintmark.StateRevoked, one)
	case "receipt.written":
		var r mintmark.Receipt
		if json.Unmarshal(e.Data, &r) == nil {
			m.control.Receipt(&r)
		}
	}
}

// folded counts a batch of gateway records that entered the ledger.
func (m *metricSet) folded(b *bus.RecordBatch) {
	m.recorder.Batches.Inc()
	m.recorder.Deltas.Add(float64(len(b.Usage)))
	if b.Lost {
		m.recorder.Lost.Inc()
	}
	if b.To > 0 {
		m.recorder.Lag.Observe(max(0, time.Since(time.UnixMilli(b.To)).Seconds()))
	}
}

// setAside counts a record that could not be folded.
func (m *metricSet) setAside(*recorder.SetAside) { m.recorder.SetAside.Inc() }

// count keeps the numbers of live and expired tokens, until ctx ends. Reading all
// live tokens costs time in proportion, of which it takes at most a fiftieth.
func (m *metricSet) count(ctx context.Context, store *sqlite.Store) error {
	const often = 10 * time.Second
	from := time.Now()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		start := time.Now()
		if to := start.Add(-time.Second); to.Unix() > from.Unix() {
			if over, err := store.ExpiredBetween(ctx, from, to); err == nil {
				from = to
				for _, c := range over {
					m.tokens.Ended(mintmark.StateExpired, telemetry.Count(c))
				}
			}
		}
		if live, err := store.LiveTokens(ctx, start); err == nil {
			lines := make([]telemetry.Count, len(live))
			for i, c := range live {
				lines[i] = telemetry.Count(c)
			}
			m.tokens.SetLive(lines)
		}
		t.Reset(max(often, 50*time.Since(start)))
	}
}

// timed measures the token endpoint.
func (m *metricSet) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/token" {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		next.ServeHTTP(w, r)
		telemetry.Since(m.authority.Token, start, time.Now())
	})
}

// counted counts decisions for the recorder, and adds each flush to the metrics.
type counted struct {
	*usage.Counter
	metrics *telemetry.Gateway
}

// Flush implements spool.Counter.
func (c counted) Flush(b *bus.RecordBatch) {
	before := len(b.Usage)
	c.Counter.Flush(b)
	for i := range b.Usage[before:] {
		u := &b.Usage[before+i]
		if u.Code == mintmark.CodeNone {
			c.metrics.AddValidated(u.Release, u.Client, u.Issuer, u.N)
		} else {
			c.metrics.AddRefused(u.Code, u.Release, u.Client, u.Issuer, u.N)
		}
	}
}

// state reads the gateway for one scrape.
func (n *gatewayNode) state() telemetry.GatewayState {
	snap, fresh, held := n.follower.Current(), n.follower.Freshness(), n.verifier.Stats()
	s := telemetry.GatewayState{
		Epoch: snap.Epoch, Seq: snap.Seq, Term: snap.Term, Lease: n.follower.LeaseLeft(),
		Tokens: held.Entries, TokenBytes: held.Bytes, Hits: held.Hits, Misses: held.Misses, Pulls: held.Pulls,
	}
	s.Revocations = snap.Revoked.Len()
	for _, r := range snap.Table.Routes() {
		if fresh.Fenced(r.Budget) {
			s.Fenced++
		}
	}
	s.Spool, s.SpoolMax = n.spool.Size()
	return s
}
