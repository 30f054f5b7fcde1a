package whatif

import (
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark/api"
)

// Answer is the report as the admin API shows it.
func (r *Report) Answer() *api.Simulation {
	out := &api.Simulation{
		Shapes: r.Shapes, Requests: r.Requests, From: r.From, To: r.To, Assumed: r.Assumed, Drifted: r.Drifted,
		Refused: r.Refused, Admitted: r.Admitted, Reasons: r.Reasons, Releases: r.Releases, More: r.More, Rows: make([]api.SimulationRow, 0, len(r.Rows)),
	}
	for i := range r.Rows {
		w := &r.Rows[i]
		row := api.SimulationRow{
			Change: w.Change, Client: w.Client, Issuer: w.Issuer, Release: w.Release, Route: w.Route, Method: w.Method, Before: w.Before, After: w.After,
			ServedBefore: w.ServedBefore, ServedAfter: w.ServedAfter, Requests: w.Requests, Shapes: w.Shapes,
		}
		if sample, err := Encode(w.Sample); err == nil {
			row.Sample = sample
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// Encode gives each shape as JSON.
func Encode(shapes []Shape) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, len(shapes))
	for i := range shapes {
		b, err := json.Marshal(&shapes[i])
		if err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		out[i] = b
	}
	return out, nil
}

// Decode reads what Encode gave; what can't be read, from a newer version perhaps,
// is left out.
func Decode(list []json.RawMessage) []Shape {
	out := make([]Shape, 0, len(list))
	for _, b := range list {
		var s Shape
		if json.Unmarshal(b, &s) == nil && s.Check() == nil {
			out = append(out, s)
		}
	}
	return out
}
