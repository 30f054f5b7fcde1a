package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/usage"
)

type gatewayMetrics = prometheus.Registerer

// metricSet are the control plane's metrics.
type metricSet struct {
	control   *telemetry.Control
	recorder  *telemetry.Recorder
	authority *telemetry.Authority
}

func controlMetrics(r prometheus.Registerer) *metricSet {
	return &metricSet{control: telemetry.NewControl(r), recorder: telemetry.NewRecorder(r), authority: telemetry.NewAuthority(r)}
}

// folded counts a batch of gateway records that entered the ledger.
func (m *metricSet) folded(b *bus.RecordBatch) {}

// state shows the head of the state log and who follows it.
func (m *metricSet) state(f *fleet.Fleet) {
	s := f.Current()
	m.control.Epoch.Set(float64(s.Epoch))
	m.control.Seq.Set(float64(s.Seq))
	m.control.Term.Set(float64(s.Term))
	live, lapsed := 0, 0
	for _, g := range f.Gateways() {
		switch g.State {
		case "live":
			live++
		case "silent":
			lapsed++
		}
	}
	m.control.Members(live, lapsed)
}

// counted counts decisions for the recorder.
type counted struct{ *usage.Counter }

func (c counted) Foreign(t *mintmark.Token) { c.Counter.Foreign(t) }

var (
	_ = admission.Request{}
	_ = epoch.Snapshot{}
	_ = time.Now
)
