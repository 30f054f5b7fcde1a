package sqlite_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/storetest"
)

// BenchmarkIssue is durable opaque issuance with fold, leaf and checkpoint, by 64
// writers.
func BenchmarkIssue(b *testing.B) {
	l := storetest.Start(b, open(b, b.TempDir()))
	var n atomic.Uint64
	b.SetParallelism(32) // × GOMAXPROCS 2
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h := fmt.Appendf(nil, "%032d", n.Add(1))
			_, e := l.Token(func(d *mintmark.TokenIssued) { d.Token.Kind, d.Handle = mintmark.KindOpaque, h })
			if _, err := l.Append(b.Context(), ledger.Batch{Events: []mintmark.Event{e}}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkIssueSingle is one writer: the latency of one durable append.
func BenchmarkIssueSingle(b *testing.B) {
	l := storetest.Start(b, open(b, b.TempDir()))
	b.ResetTimer()
	for b.Loop() {
		_, e := l.Token(nil)
		if _, err := l.Append(b.Context(), ledger.Batch{Events: []mintmark.Event{e}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUsage folds batches of 5,000 deltas, each of another token, with ten
// batches over the same 50,000 tokens.
func BenchmarkUsage(b *testing.B) {
	const deltas = 5000
	l := storetest.Start(b, open(b, b.TempDir()))
	var batches [10]bus.RecordBatch
	for i := range batches {
		batches[i] = bus.RecordBatch{V: 1, Gateway: "gw", Boot: "boot_1"}
		for j := range deltas {
			batches[i].Usage = append(batches[i].Usage, bus.UsageDelta{
				Token: mintmark.TokenID(fmt.Sprintf("tok_%026d", i*deltas+j)), Release: "orders/v1", Served: "orders/v1",
				Route: "orders/list", N: 3, First: l.Clock.Load(), Last: l.Clock.Load() + 900,
			})
		}
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		batch := batches[i%len(batches)]
		batch.Seq = uint64(i + 1)
		l.Must(b, ledger.Batch{Events: []mintmark.Event{storetest.Event("gateway/gw", mintmark.EventUsageRecorded, batch)}})
	}
	b.ReportMetric(float64(b.N)*deltas/b.Elapsed().Seconds(), "deltas/s")
}
