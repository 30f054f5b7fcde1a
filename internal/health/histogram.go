package health

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// Buckets is how many buckets a Histogram has: eight to each doubling of the
// duration from 64 µs to a minute, so that a bucket's bounds are at most an eighth
// apart, one for everything below and one for everything above.
const (
	Buckets   = 8*octaves + 2
	octaves   = 20
	unitShift = 6 // a bucket's unit is 2^6 µs before the first doubling
)

// Histogram counts durations in fixed buckets, so that any two add up.
type Histogram [Buckets]uint64

// Bucket returns the bucket of a duration.
func Bucket(d time.Duration) int {
	us := uint64(max(d, 0)) / uint64(time.Microsecond)
	if us < 1<<unitShift {
		return 0
	}
	top := bits.Len64(us) - 1 // 6 or more
	i := (top-unitShift)*8 + int(us>>(top-3)&7) + 1
	return min(i, Buckets-1)
}

// UpperBound returns the first duration that is not in the bucket any more; the
// last bucket has none, and its own lower bound is returned.
func UpperBound(bucket int) time.Duration {
	i := min(max(bucket, 0), Buckets-2)
	if i == 0 {
		return (1 << unitShift) * time.Microsecond
	}
	octave, step := (i-1)/8, (i-1)%8
	return time.Duration((8+uint64(step)+1)<<(octave+unitShift-3)) * time.Microsecond
}

// Add adds another histogram's counts.
func (h *Histogram) Add(o *Histogram) {
	for i := range h {
		h[i] += o[i]
	}
}

// Total returns how many durations were counted.
func (h *Histogram) Total() (n uint64) {
	for _, c := range h {
		n += c
	}
	return n
}

// Quantile returns the upper bound of the bucket that holds the quantile q, 0 to
// 1: at least that share of the durations is below it. 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.Total()
	if total == 0 {
		return 0
	}
	want := uint64(q * float64(total))
	var n uint64
	for i, c := range h {
		if n += c; n >= want && n > 0 {
			return UpperBound(i)
		}
	}
	return UpperBound(Buckets - 1)
}

// append packs the histogram: how many buckets count, then each one's distance
// from the bucket before and its count.
func (h *Histogram) append(b []byte) []byte {
	n := uint64(0)
	for _, c := range h {
		if c != 0 {
			n++
		}
	}
	b = binary.AppendUvarint(b, n)
	last := -1
	for i, c := range h {
		if c != 0 {
			b = binary.AppendUvarint(b, uint64(i-last))
			b = binary.AppendUvarint(b, c)
			last = i
		}
	}
	return b
}

func (h *Histogram) read(r *reader) {
	at := -1
	for range r.count(Buckets) {
		gap, c := r.uvarint(), r.uvarint()
		if gap == 0 || gap > Buckets || at+int(gap) >= Buckets || c == 0 || c > 1<<48 {
			r.failed, r.b = true, nil
			return
		}
		at += int(gap)
		h[at] = c
	}
}
