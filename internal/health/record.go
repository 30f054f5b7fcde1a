package health

import (
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark"
)

// Stream is the ledger's stream on which everything stands that a rollout is judged
// by, in the order in which it counts: what was seen at gateways and the authority,
// and what Prometheus counted. A judge is a fold over it, so that whoever reads it
// again from where a rollout began comes to the same verdict.
const Stream = "health"

// EventObserved is the type of its events; their data is a Record.
const EventObserved mintmark.EventType = "health.observed"

// Record is what one source saw. Members are added, never renamed.
type Record struct {
	Source string `json:"source"` // gateway:ID, authority, or a query's metric
	At     int64  `json:"at"`     // until when, Unix milliseconds
	// Deltas are packed Deltas (see Delta.Append).
	Deltas [][]byte `json:"deltas,omitempty"`
	// Counted is what a query counted.
	Counted *Counted `json:"counted,omitempty"`
}

// Counted is one poll of a query: how many events there were since the poll
// before, or why that is not known.
type Counted struct {
	Rollout mintmark.RolloutID `json:"rollout"`
	Metric  Metric             `json:"metric"`
	Total   Arms               `json:"total"`
	Bad     Arms               `json:"bad"`
	Fault   string             `json:"fault,omitempty"`
}

// Event makes the ledger's event of a record.
func (r *Record) Event() (mintmark.Event, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return mintmark.Event{}, fmt.Errorf("encode health record: %w", err)
	}
	return mintmark.Event{Stream: Stream, Type: EventObserved, Actor: r.Source, Data: data}, nil
}

// DecodeRecord reads an event's record and its deltas. Deltas that this program
// can't read (of a later version, say) are left out and named by the error.
func DecodeRecord(data []byte) (r Record, deltas []*Delta, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return r, nil, fmt.Errorf("health record: %w", err)
	}
	for _, b := range r.Deltas {
		d, bad := DecodeDelta(b)
		if bad != nil {
			err = bad
			continue
		}
		deltas = append(deltas, d)
	}
	return r, deltas, err
}

// Take folds a record in, as event number seq of the stream.
func (j *Judge) Take(seq uint64, r *Record, deltas []*Delta) error {
	if c := r.Counted; c != nil {
		if c.Rollout != j.open.Rollout {
			return nil
		}
		return j.Count(seq, r.At, c.Metric, c.Total, c.Bad, c.Fault)
	}
	if len(deltas) == 0 {
		return nil
	}
	all := Delta{}
	for _, d := range deltas {
		all.Sections = append(all.Sections, d.Sections...)
	}
	return j.Fold(seq, r.At, r.Source, &all)
}
