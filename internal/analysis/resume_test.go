package analysis

import (
	"encoding/json"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// One rollout's health that this program can't read, of a later version say, keeps
// neither the process from starting nor the others from being judged.
func TestResumeLeavesOutWhatItCannotRead(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.analysis.Open(t.Context(), health.Opening{Rollout: "ro_1", Service: "shop", Stable: "v1", Candidate: "v2"}))
	for id, body := range map[mintmark.RolloutID]any{
		"ro_0": document{Opening: health.Opening{Rollout: "ro_0", Spec: health.Spec{Metrics: []health.MetricSpec{{Name: "of_a_later_version", Weight: 1}}}}},
		"ro_2": map[string]any{"opening": "of another shape"},
	} {
		data, err := json.Marshal(body)
		w.must(err)
		_, err = w.ledger.Append(t.Context(), ledger.Batch{Events: []mintmark.Event{{Stream: ledger.DocHealth + "/" + string(id), Type: "health.judged", Actor: "test", Data: data}}})
		w.must(err)
	}
	w.restart()
	if r := w.analysis.Reports(); len(r) != 1 || r[0].Rollout != "ro_1" {
		t.Errorf("%d judged: %+v", len(r), r)
	}
}
