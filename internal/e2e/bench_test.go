package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// BenchmarkRevokeWait measures what an operator waits for: a revocation over the
// admin API that returns when three gateway processes have it durable. The ledger
// is the real one, synced to disk.
func BenchmarkRevokeWait(b *testing.B) {
	r := newRig(b, rigConfig{gateways: 3, lease: 3 * time.Second})
	spent := measure(b, func(i int) *mintmark.Receipt {
		a, err := r.api().Revoke(b.Context(), api.RevokeRequest{Selector: fmt.Sprintf("subject=nobody-%d", i), Reason: "bench", Wait: true, Timeout: "20s"})
		must(b, err)
		return a.Receipt
	})
	report(b, spent)
}

// BenchmarkRollbackWait measures a rollback likewise.
func BenchmarkRollbackWait(b *testing.B) {
	r := newRig(b, rigConfig{gateways: 3, lease: 3 * time.Second})
	spent := measure(b, func(int) *mintmark.Receipt {
		b.StopTimer()
		ro, err := r.api().StartRollout(b.Context(), api.RolloutRequest{Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "bench", ManualRollback: true, Wait: true, Timeout: "20s"})
		must(b, err)
		b.StartTimer()
		began = time.Now()
		a, err := r.api().StepRollout(b.Context(), ro.Rollout.ID, "rollback", api.StepRequest{Reason: "bench", Wait: true, Timeout: "20s"})
		must(b, err)
		return a.Receipt
	})
	report(b, spent)
}

// began is when the call being measured was made.
var began time.Time

// took is one call: as the caller waited, and as the receipt says from the commit
// on.
type took struct{ whole, barrier time.Duration }

func measure(b *testing.B, call func(i int) *mintmark.Receipt) (spent []took) {
	for i := 0; b.Loop(); i++ {
		began = time.Now()
		rec := call(i)
		if rec == nil || rec.Outcome != mintmark.OutcomeEffective {
			b.Fatalf("not effective: %+v", rec)
		}
		spent = append(spent, took{time.Since(began), rec.Elapsed})
	}
	return spent
}

func report(b *testing.B, spent []took) {
	for name, of := range map[string]func(took) time.Duration{
		"call":    func(t took) time.Duration { return t.whole },
		"barrier": func(t took) time.Duration { return t.barrier },
	} {
		var list []time.Duration
		for _, s := range spent {
			list = append(list, of(s))
		}
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}
