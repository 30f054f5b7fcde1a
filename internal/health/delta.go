package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
)

// MaxDelta is the largest encoded Delta, in bytes: as base64 in a batch of records
// it stays under a third of the bus's largest message. MaxKeys bounds the keys of
// one Delta, which keeps it under MaxDelta whatever else it holds.
const (
	MaxDelta = 1 << 20
	MaxKeys  = 100_000
)

// ErrDelta reports bytes that are no Delta.
var ErrDelta = errors.New("malformed health delta")

// Limits of what one Delta may hold.
const (
	maxSections = 64
	maxLatency  = 512
	maxName     = 128
)

// Delta is what one source saw since its Delta before. Everything in it may be
// folded any number of times but Latency, which adds up.
type Delta struct {
	Sections []Section
	Latency  []Latency
}

// Section is what was seen of one rollout under one weight. Keys are sorted and
// each is there once.
type Section struct {
	Rollout mintmark.RolloutID
	// Weight of the candidate in basis points when it was seen, and the epoch.
	Weight int
	Epoch  uint64
	// Level of sampling at the source: keys that Followed refuses were left out.
	Level uint8
	// Exposed are the subjects seen for the first time.
	Exposed []uint64
	// Bad are the subjects with their first bad event, by metric's place, in
	// ascending order of places.
	Bad []Bad
}

// Bad are subjects that failed by one metric.
type Bad struct {
	Place Place
	Keys  []uint64
}

// Latency counts answers of one release by duration.
type Latency struct {
	Release mintmark.ReleaseID
	Counts  Histogram
}

// Empty reports whether nothing is told.
func (d *Delta) Empty() bool { return len(d.Sections) == 0 && len(d.Latency) == 0 }

const deltaVersion = 1

// Append appends the delta's one packed form to b: a version byte; sections, each
// rollout, weight, epoch, level, exposed keys, bad keys by place; latencies, each
// release and pairs of bucket gap and count. Numbers are uvarints, strings have
// their length before them, keys are 8 bytes big-endian, ascending. An error means
// that a limit is passed or an order broken; b is returned as it was.
func (d *Delta) Append(b []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return b, err
	}
	start := len(b)
	out := append(b, deltaVersion)
	out = binary.AppendUvarint(out, uint64(len(d.Sections)))
	for i := range d.Sections {
		s := &d.Sections[i]
		out = appendString(out, string(s.Rollout))
		out = binary.AppendUvarint(out, uint64(s.Weight))
		out = binary.AppendUvarint(out, s.Epoch)
		out = append(out, s.Level)
		out = appendKeys(out, s.Exposed)
		out = binary.AppendUvarint(out, uint64(len(s.Bad)))
		for _, bad := range s.Bad {
			out = append(out, byte(bad.Place))
			out = appendKeys(out, bad.Keys)
		}
	}
	out = binary.AppendUvarint(out, uint64(len(d.Latency)))
	for i := range d.Latency {
		l := &d.Latency[i]
		out = appendString(out, string(l.Release))
		out = l.Counts.append(out)
	}
	if len(out)-start > MaxDelta {
		return b, fmt.Errorf("%w: %d bytes, at most %d", ErrDelta, len(out)-start, MaxDelta)
	}
	return out, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendKeys(b []byte, keys []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, k)
	}
	return b
}

// check holds a delta against the limits and orders of its form.
func (d *Delta) check() error {
	if len(d.Sections) > maxSections || len(d.Latency) > maxLatency {
		return fmt.Errorf("%w: %d sections and %d releases, at most %d and %d", ErrDelta, len(d.Sections), len(d.Latency), maxSections, maxLatency)
	}
	keys := 0
	for i := range d.Sections {
		s := &d.Sections[i]
		if s.Rollout == "" || len(s.Rollout) > maxName || s.Weight < 0 || s.Weight > mostWeight || s.Level > maxLevel {
			return fmt.Errorf("%w: section %d: bad rollout, weight %d or level %d", ErrDelta, i, s.Weight, s.Level)
		}
		if !ascending(s.Exposed) {
			return fmt.Errorf("%w: section %d: keys out of order", ErrDelta, i)
		}
		keys += len(s.Exposed)
		for n, bad := range s.Bad {
			if bad.Place >= Places || n > 0 && s.Bad[n-1].Place >= bad.Place || len(bad.Keys) == 0 || !ascending(bad.Keys) {
				return fmt.Errorf("%w: section %d: metric %d out of order, unknown or empty", ErrDelta, i, bad.Place)
			}
			keys += len(bad.Keys)
		}
	}
	if keys > MaxKeys {
		return fmt.Errorf("%w: %d keys, at most %d", ErrDelta, keys, MaxKeys)
	}
	for i := range d.Latency {
		l := &d.Latency[i]
		if l.Release == "" || len(l.Release) > maxName || i > 0 && d.Latency[i-1].Release >= l.Release || l.Counts.Total() == 0 {
			return fmt.Errorf("%w: latency %d: bad name, out of order or empty", ErrDelta, i)
		}
	}
	return nil
}

func ascending(keys []uint64) bool {
	for i := 1; i < len(keys); i++ {
		if keys[i-1] >= keys[i] {
			return false
		}
	}
	return true
}

// DecodeDelta reads a packed delta, whole and in its one form: what it accepts
// Append prints again byte for byte. A later version is refused by its number.
func DecodeDelta(b []byte) (*Delta, error) {
	if len(b) > MaxDelta {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrDelta, len(b), MaxDelta)
	}
	r := reader{b: b}
	if v := r.byte(); r.ok() && v != deltaVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrDelta, v, deltaVersion)
	}
	d := &Delta{}
	for range r.count(maxSections) {
		s := Section{Rollout: mintmark.RolloutID(r.string())}
		s.Weight = int(min(r.uvarint(), mostWeight+1))
		s.Epoch = r.uvarint()
		s.Level = r.byte()
		s.Exposed = r.keys()
		for range r.count(Places) {
			s.Bad = append(s.Bad, Bad{Place: Place(r.byte()), Keys: r.keys()})
		}
		d.Sections = append(d.Sections, s)
	}
	for range r.count(maxLatency) {
		l := Latency{Release: mintmark.ReleaseID(r.string())}
		l.Counts.read(&r)
		d.Latency = append(d.Latency, l)
	}
	if !r.ok() || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: cut short, in another form, or with bytes after its end", ErrDelta)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// reader takes a packed form apart. After its first failure it gives zeros.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) ok() bool { return !r.failed }

func (r *reader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// uvarint takes the shortest form only, so that each delta has one.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.failed || n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count takes how many things follow; 0 when they are more than most.
func (r *reader) count(most uint64) uint64 {
	n := r.uvarint()
	if n > most {
		r.failed, r.b = true, nil
		return 0
	}
	return n
}

func (r *reader) string() string { return string(r.take(r.count(maxName))) }

func (r *reader) keys() []uint64 {
	n := r.count(MaxKeys)
	b := r.take(8 * n)
	if len(b) == 0 {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return out
}

// Sort brings a section's keys into order and drops repeats.
func (s *Section) Sort() {
	slices.Sort(s.Exposed)
	s.Exposed = slices.Compact(s.Exposed)
	slices.SortFunc(s.Bad, func(a, b Bad) int { return int(a.Place) - int(b.Place) })
	for i := range s.Bad {
		slices.Sort(s.Bad[i].Keys)
		s.Bad[i].Keys = slices.Compact(s.Bad[i].Keys)
	}
}

// Split cuts a delta into ones that Append takes: each with at most MaxKeys keys
// and within the other limits. The keys stay sorted. A delta that fits is its only
// part; an empty one has none.
func (d *Delta) Split() []*Delta {
	if d.Empty() {
		return nil
	}
	c := &cutter{}
	c.next()
	for len(d.Latency) > 0 {
		n := min(len(d.Latency), maxLatency)
		if len(c.last.Latency) > 0 {
			c.next()
		}
		c.last.Latency, d.Latency = d.Latency[:n:n], d.Latency[n:]
	}
	for i := range d.Sections {
		s := &d.Sections[i]
		head := Section{Rollout: s.Rollout, Weight: s.Weight, Epoch: s.Epoch, Level: s.Level}
		c.section(head)
		for rest := s.Exposed; len(rest) > 0; {
			rest = c.keys(rest, head, func(s *Section, keys []uint64) { s.Exposed = append(s.Exposed, keys...) })
		}
		for _, b := range s.Bad {
			for rest := b.Keys; len(rest) > 0; {
				rest = c.keys(rest, head, func(s *Section, keys []uint64) { s.Bad = append(s.Bad, Bad{b.Place, keys}) })
			}
		}
	}
	return c.parts
}

// partKeys leaves room beside the keys for what else a part holds.
const partKeys = 64_000

// cutter builds parts.
type cutter struct {
	parts []*Delta
	last  *Delta
	used  int
}

func (c *cutter) next() {
	c.last = &Delta{}
	c.used = 0
	c.parts = append(c.parts, c.last)
}

func (c *cutter) section(head Section) {
	if len(c.last.Sections) >= maxSections {
		c.next()
	}
	c.last.Sections = append(c.last.Sections, head)
}

// keys puts as many keys as fit into the last section, and begins a part when none
// do.
func (c *cutter) keys(keys []uint64, head Section, put func(*Section, []uint64)) (rest []uint64) {
	if c.used >= partKeys {
		c.next()
		c.section(head)
	}
	n := min(len(keys), partKeys-c.used)
	put(&c.last.Sections[len(c.last.Sections)-1], keys[:n:n])
	c.used += n
	return keys[n:]
}
