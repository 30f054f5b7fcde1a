package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// detection is a service without tokens behind two gateways whose subjects are the
// clients' addresses: each request comes from another one of 127.0.0.0/8, and so
// counts once. Both releases fail by chance; how often is up to the test.
type detection struct {
	r        *rig
	fails    [2]atomic.Uint64 // of v1 and v2, in millionths
	requests atomic.Uint64
	next     atomic.Uint32 // address
}

const (
	detectionBase  = 0.01 // share of requests that fail at the stable release
	detectionShare = "25"
)

func newDetection(b *testing.B) *detection {
	d := &detection{}
	d.next.Store(1 << 16)
	text := strings.Replace(plain, `{name: read, path: "/orders/*", scopes: [orders.read], staleness: strict}`, `{name: read, path: "/orders/*", public: true}`, 1)
	for i, name := range []string{"$V1", "$V2"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if rand.Uint64N(1e6) < d.fails[i].Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}))
		b.Cleanup(s.Close)
		text = strings.ReplaceAll(text, name, s.URL)
	}
	d.r = newRig(b, rigConfig{gateways: 2, resources: text})
	return d
}

// call is one subject's only request.
func (d *detection) call() {
	n := d.next.Add(1)
	from := &net.TCPAddr{IP: net.IPv4(127, byte(n>>16), byte(n>>8), byte(n))}
	t := &http.Transport{DialContext: (&net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, Timeout: 10 * time.Second}
	res, err := c.Get(d.r.gates[int(n)%len(d.r.gates)].url + "/orders/1")
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	d.requests.Add(1)
}

// play runs one rollout: a second of healthy traffic, then a candidate that fails
// times as often as the stable release. It returns how long it took until the
// rollback was durable, what the evidence had counted, and the subjects met since.
func (d *detection) play(b *testing.B, times float64) (took time.Duration, e *mintmark.Evidence, subjects uint64) {
	set := func(i int, p float64) { d.fails[i].Store(uint64(min(p, 1) * 1e6)) }
	set(0, detectionBase)
	set(1, detectionBase)
	file := api.File{Name: "rollout.yaml", Text: `{apiVersion: mintmark/v1, kind: Rollout, name: judged, service: orders, candidate: v2, strategy: canary,
 steps: [{set_weight: ` + detectionShare + `}], promote: manual, analysis: {only: true, metrics: [{name: server_error}]}}`}
	ro, err := d.r.api().StartRollout(b.Context(), api.RolloutRequest{File: &file, Reason: "bench", Wait: true, Timeout: "30s"})
	must(b, err)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					d.call()
				}
			}
		})
	}
	defer wg.Wait()
	defer close(done)
	time.Sleep(time.Second)
	before := d.requests.Load()
	began := time.Now()
	set(1, detectionBase*times)
	var got *api.Rollout
	d.r.eventually(150*time.Second, "the candidate is taken back", func() (bool, string) {
		got, err = d.r.api().Rollout(b.Context(), ro.Rollout.ID)
		return err == nil && got.State == "rolled_back" && got.Receipt != "", fmt.Sprint(err)
	})
	subjects = d.requests.Load() - before
	rec, err := d.r.api().Receipt(b.Context(), got.Receipt)
	must(b, err)
	return rec.Committed.Sub(began), rec.Evidence, subjects
}

// BenchmarkDetection measures how soon a running system takes a failing candidate
// back: real gateways, ledger and control, a new subject for each request. Compare
// first events with the simulated medians in docs/analysis.md: time depends on how
// many subjects a second the machine can play.
func BenchmarkDetection(b *testing.B) {
	d := newDetection(b)
	for _, times := range []float64{2, 5, 10, 100} {
		b.Run(fmt.Sprintf("times=%g", times), func(b *testing.B) {
			var took []time.Duration
			var events []uint64
			var rate float64
			for b.Loop() {
				t, e, n := d.play(b, times)
				took = append(took, t)
				rate += float64(n) / t.Seconds()
				if e != nil {
					events = append(events, e.Candidate.Bad+e.Stable.Bad)
				}
			}
			slices.Sort(took)
			slices.Sort(events)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took[len(took)/2].Seconds(), "median-s")
			b.ReportMetric(took[len(took)-1].Seconds(), "slowest-s")
			b.ReportMetric(rate/float64(len(took)), "subjects/s")
			if len(events) > 0 {
				b.ReportMetric(float64(events[len(events)/2]), "first-events")
			}
		})
	}
}
