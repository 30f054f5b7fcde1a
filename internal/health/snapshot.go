package health

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/sequential"
)

// ErrSnapshot reports bytes that are no snapshot of a judge.
var ErrSnapshot = errors.New("malformed health snapshot")

const snapshotVersion = 1

// snapshot is everything of a judge but the subjects.
type snapshot struct {
	Opening  Opening              `json:"opening"`
	Analysis *sequential.Analysis `json:"analysis"`
	Events   map[Place]Arms       `json:"events,omitempty"`
	Weight   int                  `json:"weight"`
	Peak     int                  `json:"peak"`
	Tripped  Metric               `json:"tripped,omitempty"`
	AsOf     int64                `json:"as_of"`
	Seq      uint64               `json:"seq"`
	Sources  []Source             `json:"sources,omitempty"`
	History  []Point              `json:"history,omitempty"`
	Every    int64                `json:"every,omitempty"`
	Level    uint8                `json:"level,omitempty"`
}

// Snapshot packs the judge: a version byte, the length of its JSON and the JSON,
// then the subjects, each 8 bytes of key in ascending order and 4 of the metrics by
// which it failed. RestoreJudge goes on from it exactly.
func (j *Judge) Snapshot() ([]byte, error) {
	s := snapshot{
		Opening: j.open, Analysis: j.analysis, Events: map[Place]Arms{}, Weight: j.weight, Peak: j.peak, Tripped: j.tripped, AsOf: j.asOf, Seq: j.seq,
		History: j.history.points, Every: j.history.every, Level: j.cohorts.level,
	}
	for p, n := range j.events {
		if n != (Arms{}) {
			s.Events[Place(p)] = n
		}
	}
	for _, src := range j.sources {
		s.Sources = append(s.Sources, *src)
	}
	slices.SortFunc(s.Sources, func(a, b Source) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	head, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("pack the judge: %w", err)
	}
	type subject struct {
		key uint64
		bad uint32
	}
	all := make([]subject, 0, j.cohorts.Len())
	j.cohorts.Each(func(key uint64, bad uint32) { all = append(all, subject{key, bad}) })
	slices.SortFunc(all, func(a, b subject) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	out := make([]byte, 0, 16+len(head)+12*len(all))
	out = append(out, snapshotVersion)
	out = binary.AppendUvarint(out, uint64(len(head)))
	out = append(out, head...)
	for _, s := range all {
		out = binary.BigEndian.AppendUint64(out, s.key)
		out = binary.BigEndian.AppendUint32(out, s.bad)
	}
	return out, nil
}

// RestoreJudge reads what Snapshot packed.
func RestoreJudge(b []byte) (*Judge, error) {
	r := reader{b: b}
	if v := r.byte(); v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrSnapshot, v, snapshotVersion)
	}
	head := r.take(r.count(1 << 24))
	s := snapshot{Analysis: new(sequential.Analysis)}
	if !r.ok() || len(r.b)%12 != 0 {
		return nil, fmt.Errorf("%w: cut short", ErrSnapshot)
	}
	if err := json.Unmarshal(head, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	j, err := NewJudge(s.Opening)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	j.analysis, j.weight, j.peak, j.tripped, j.asOf, j.seq = s.Analysis, s.Weight, s.Peak, s.Tripped, s.AsOf, s.Seq
	j.history = history{points: s.History, every: s.Every}
	for p, n := range s.Events {
		if p < Places {
			j.events[p] = n
		}
	}
	for i := range s.Sources {
		j.sources[s.Sources[i].Name] = &s.Sources[i]
	}
	j.cohorts.Raise(s.Level)
	for len(r.b) > 0 {
		key, bad := binary.BigEndian.Uint64(r.take(8)), binary.BigEndian.Uint32(r.take(4))
		j.cohorts.put(key, bad)
	}
	if j.cohorts.level != s.Level {
		return nil, fmt.Errorf("%w: more subjects than its level allows", ErrSnapshot)
	}
	return j, nil
}
