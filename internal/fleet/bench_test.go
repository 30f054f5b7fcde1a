package fleet_test

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkRevokeWait measures a revocation from the call to the signed receipt
// that says every one of three gateways has applied it.
func BenchmarkRevokeWait(b *testing.B) {
	c := newCluster(b, "east", "west", "north")
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		r := c.commit(revoke("alice"))
		if got := c.wait(r.Receipt, 10*time.Second); got.Outcome != "effective" {
			b.Fatal(got.Outcome)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
