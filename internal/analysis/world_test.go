package analysis

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/exposure"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/recorder"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// world is a ledger on disk, the recorder in front of it and an analysis behind
// it, with gateways' meters that the test feeds.
type world struct {
	*testing.T
	store    *sqlite.Store
	ledger   *ledger.Ledger
	analysis *Analysis
	clock    sync.Mutex
	now      time.Time // guarded by clock where others read it
	records  chan delivery
	seq      map[string]uint64
	looked   chan struct{}
	stop     func()
	change   func(*Config)
}

type delivery struct {
	subject string
	data    []byte
	done    chan error
}

func newWorld(t *testing.T, change func(*Config)) *world {
	w := &world{T: t, now: time.UnixMilli(1_800_000_000_000), records: make(chan delivery), seq: map[string]uint64{}, change: change}
	ctx, stop := context.WithCancel(context.Background())
	var err error
	w.store, err = sqlite.Open(ctx, sqlite.Options{Dir: t.TempDir(), Scratch: true})
	w.must(err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	signer, err := auditlog.NewSigner("audit.test", key)
	w.must(err)
	w.ledger = ledger.New(ledger.Config{Engine: w.store, Fold: projection.Fold, Sign: signer.Checkpoint, Now: w.time, Random: rand.Reader})
	w.must(w.ledger.Open(ctx))
	done := make(chan struct{})
	go func() { defer close(done); _ = w.ledger.Run(ctx) }()
	w.start()
	t.Cleanup(func() {
		w.stop()
		stop()
		<-done
		_ = w.store.Close()
	})
	return w
}

// start starts recorder and analysis anew, as after a restart.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.looked = make(chan struct{}, 1)
	c := Config{Ledger: w.ledger, Store: w.store, Now: w.time, Every: 5 * time.Millisecond}
	if w.change != nil {
		w.change(&c)
	}
	w.analysis = New(c)
	w.must(w.analysis.Resume(ctx))
	rec := recorder.New(recorder.Config{Ledger: w.ledger, Store: w.store, Records: w, Bus: deaf{}, Folded: w.analysis.Recorded})
	ended := make(chan struct{}, 2)
	go func() { _ = rec.Run(ctx); ended <- struct{}{} }()
	go func() { _ = w.analysis.Run(ctx); ended <- struct{}{} }()
	w.stop = func() { cancel(); <-ended; <-ended }
}

func (w *world) time() time.Time {
	w.clock.Lock()
	defer w.clock.Unlock()
	return w.now
}

func (w *world) tick(d time.Duration) {
	w.clock.Lock()
	defer w.clock.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) restart() { w.stop(); w.start() }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

type deaf struct{ bus.Conn }

func (deaf) Publish(context.Context, string, []byte) error { return nil }

func (w *world) PublishRecord(context.Context, string, string, []byte) error { return nil }

func (w *world) ConsumeRecords(ctx context.Context, handle func(context.Context, string, []byte) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-w.records:
			d.done <- handle(ctx, d.subject, d.data)
		}
	}
}

// deliver brings a meter's news to the recorder, as its spool would, and the same
// batch twice when again is set.
func (w *world) deliver(gateway string, m *exposure.Meter, again bool) {
	w.Helper()
	var b bus.RecordBatch
	m.Drain(&b)
	for _, h := range b.Health {
		w.seq[gateway]++
		data, err := bus.Encode(bus.RecordBatch{
			V: bus.Version, Gateway: mintmark.GatewayID(gateway), Boot: "boot_1", Seq: w.seq[gateway],
			From: w.now.Add(-time.Second).UnixMilli(), To: w.now.UnixMilli(), Health: [][]byte{h},
		})
		w.must(err)
		for range 1 + map[bool]int{true: 1}[again] {
			d := delivery{bus.SubjectRecords + gateway, data, make(chan error, 1)}
			w.records <- d
			w.must(<-d.done)
		}
	}
}

// settled waits until everything durable is folded, and returns the report.
func (w *world) settled(id mintmark.RolloutID) health.Report {
	w.Helper()
	version, err := w.store.StreamVersion(w.Context(), health.Stream)
	w.must(err)
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if r, ok := w.analysis.Health(id); ok && w.analysis.position(id) >= version {
			return r
		}
		time.Sleep(time.Millisecond)
	}
	w.Fatal(errors.New("the analysis does not catch up"))
	return health.Report{}
}

// shop is a service in a rollout at a weight.
func shop(t testing.TB, weight int, watch *epoch.Watch) *epoch.Snapshot {
	t.Helper()
	up := []epoch.Upstream{{URL: "http://127.0.0.1:9001"}}
	s := &epoch.Service{
		Name: "shop", Audience: []string{"https://shop.example"}, OwnIssuer: true,
		Routes:   []epoch.Route{{Name: "all", Path: "/*"}, {Name: "open", Path: "/open", Public: true}},
		Releases: []epoch.Release{{Name: "v1", Upstreams: up, Accept: []string{"*"}}, {Name: "v2", Upstreams: up, Accept: []string{"*"}}},
		Split:    epoch.Split{Stable: "v1", Candidate: "v2", Weight: weight, Salt: "pepper", Rollout: "ro_1", Watch: watch},
	}
	m, bodies, err := epoch.Build(s)
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return &epoch.Snapshot{Epoch: 7, Table: table}
}

// request is what one subject's request came to.
func request(snap *epoch.Snapshot, subject string, upstream int, now time.Time) *health.Observed {
	s := snap.Table.Service("shop")
	return &health.Observed{
		Snapshot: snap, Route: snap.Table.Routes()[0], Served: s.Arm(subject), Token: &mintmark.Token{Subject: subject, Client: "web"},
		Upstream: upstream, Status: upstream, Latency: 3 * time.Millisecond, Now: now,
	}
}

func subject(i int) string { return fmt.Sprintf("user-%d", i) }
