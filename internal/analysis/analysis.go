package analysis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// ErrOpen: the rollout is judged already, by another specification.
var ErrOpen = errors.New("analysis: rollout is judged already, by another specification")

// Ledger appends. See ledger.Ledger.
type Ledger interface {
	Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error)
}

// Store reads what is durable.
type Store interface {
	// Events returns a stream's events with versions above after.
	Events(ctx context.Context, stream string, after uint64, limit int) ([]mintmark.Event, error)
	StreamVersion(ctx context.Context, stream string) (uint64, error)
	// Document returns ledger.ErrNotFound when there is none.
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
	Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error)
}

// Config is what an Analysis is made of.
type Config struct {
	Ledger Ledger
	Store  Store
	Now    func() time.Time
	Log    *slog.Logger // nil discards
	// Fetch asks Prometheus; nil refuses specifications with queries.
	Fetch Fetch
	// Local drains this process's own meter, the authority's; nil has none. Its
	// Config.Hurry is Wake.
	Local func(*bus.RecordBatch)
	// Every is how often the stream is looked at when nobody says that there is
	// something new; 0 is a second.
	Every time.Duration
	// SnapshotBytes is how many bytes of records are folded before a snapshot is
	// written, at least; 0 is 4 MiB. See Run.
	SnapshotBytes int
	// Limit is how many subjects of a rollout are followed exactly; 0 is
	// health.DefaultLimit.
	Limit int
}

// Analysis judges the candidates of open rollouts. It is safe for concurrent use.
type Analysis struct {
	cfg     Config
	wake    chan struct{}
	latency latencies
	held    [][]byte // deltas of Local not yet in the ledger; owned by Run

	mu       sync.Mutex
	rollouts map[mintmark.RolloutID]*following // guarded by mu
}

// New returns an analysis that judges nothing yet. Call Resume, then Run.
func New(c Config) *Analysis {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	if c.SnapshotBytes <= 0 {
		c.SnapshotBytes = 4 << 20
	}
	return &Analysis{cfg: c, wake: make(chan struct{}, 1), rollouts: map[mintmark.RolloutID]*following{}}
}

// Health returns the report of an open rollout as of what was folded; false when
// it is not judged here.
func (a *Analysis) Health(id mintmark.RolloutID) (health.Report, bool) {
	a.mu.Lock()
	f := a.rollouts[id]
	a.mu.Unlock()
	if f == nil {
		return health.Report{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judge.Report(), true
}

// Open begins to judge a rollout by everything that becomes durable from now on.
// Call it before the epoch that exposes the first subject is committed. Opening it
// again with the same specification changes nothing, also after a restart; with
// another is ErrOpen. An error about the specification names every fault.
func (a *Analysis) Open(ctx context.Context, o health.Opening) error {
	if o.Rollout == "" {
		return errors.New("analysis: a rollout without a name")
	}
	if o.Limit == 0 {
		o.Limit = a.cfg.Limit
	}
	if len(o.Spec.Queries) > 0 && a.cfg.Fetch == nil {
		return fmt.Errorf("%w: queries: no Prometheus is configured (control.prometheus.url)", health.ErrSpec)
	}
	if err := CheckExpressions(o.Spec); err != nil {
		return err
	}
	if _, err := health.NewJudge(o); err != nil {
		return err
	}
	return a.open(ctx, o)
}

// Recorded says that a batch of a gateway's records became durable; it is the
// recorder's Folded. It takes durations of answers from it and wakes Run.
func (a *Analysis) Recorded(b *bus.RecordBatch) {
	if len(b.Health) == 0 {
		return
	}
	a.latency.add(b, a.cfg.Now())
	a.Wake()
}

// Wake says that there may be something new on the stream.
func (a *Analysis) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Reports returns the reports of all open rollouts, by id.
func (a *Analysis) Reports() []health.Report {
	var out []health.Report
	for _, f := range a.followed() {
		f.mu.Lock()
		out = append(out, f.judge.Report())
		f.mu.Unlock()
	}
	slices.SortFunc(out, func(x, y health.Report) int { return cmp.Compare(x.Rollout, y.Rollout) })
	return out
}
