// Package latency answers: how long did things take, told so that Prometheus can read
// it and so cheaply that every request can be told of?
package latency

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Histogram counts durations for the price of two atomic additions: what a request's
// path can afford. It shows itself as a native histogram of schema 3 (each bucket is
// 9 % wider than the one before) and, for scrapers that know no other, as a classic
// one with a bucket for each power of four. It is a prometheus.Collector; safe for
// concurrent use.
//
// Durations below a microsecond count as zero, those above 16 s as 16 s: a decision
// takes neither, and the room of a histogram is bounded by it.
type Histogram struct {
	desc    *prometheus.Desc
	total   atomic.Uint64 // nanoseconds
	buckets [1 + octaves*perOctave]atomic.Uint64
}

const (
	schema    = 3
	perOctave = 1 << schema
	lowest    = -20 // the buckets begin at 2^-20 s
	octaves   = 24  // and end at 2^4 s
)

// NewHistogram returns an empty histogram; it registers itself nowhere.
func NewHistogram(name, help string) *Histogram {
	return &Histogram{desc: prometheus.NewDesc(name, help, nil, nil)}
}

// Observe counts one duration; a negative one counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.total.Add(uint64(d))
}

// bounds are the upper bounds of the buckets within one octave, as parts of 2^62:
// 2^(i/8 - 1).
var bounds = func() (b [perOctave]uint64) {
	for i := range b {
		b[i] = uint64(math.Exp2(float64(i+1)/perOctave-1) * (1 << 62))
	}
	return b
}()

// bucketOf returns 0 for what counts as zero, else the bucket's place: bucket i holds
// what is greater than 2^(lowest+(i-1)/8) s and at most 2^(lowest+i/8) s.
func bucketOf(d time.Duration) int {
	if d >= 1<<(lowest+octaves)*time.Second {
		return octaves * perOctave
	}
	hi, lo := bits.Mul64(uint64(d), 0x44B82FA0) // 2^60/10^9, hence in 2^-60 s
	v := hi<<42 | lo>>22                        // in 2^-38 s
	if v <= 1<<(38+lowest) {
		return 0
	}
	n := bits.Len64(v-1) - 1 // v is in (2^n, 2^(n+1)]
	octave := n - 38 - lowest
	m := v << (61 - n) // in (2^61, 2^62]
	i := 0
	for m > bounds[i] && i < perOctave-1 {
		i++
	}
	return 1 + octave*perOctave + i
}

// Describe implements prometheus.Collector.
func (h *Histogram) Describe(out chan<- *prometheus.Desc) { out <- h.desc }

// Collect implements prometheus.Collector.
func (h *Histogram) Collect(out chan<- prometheus.Metric) { out <- h }

// Desc implements prometheus.Metric.
func (h *Histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric. Counts that come meanwhile are in the next one.
func (h *Histogram) Write(m *dto.Metric) error {
	var counts [len(h.buckets)]uint64
	var all uint64
	for i := range counts {
		counts[i] = h.buckets[i].Load()
		all += counts[i]
	}
	out := &dto.Histogram{
		SampleCount: new(all), SampleSum: new(float64(h.total.Load()) / 1e9),
		Schema: new(int32(schema)), ZeroThreshold: new(math.Exp2(lowest)), ZeroCount: new(counts[0]),
	}
	below := counts[0]
	for i := 1; i < len(counts); i++ {
		below += counts[i]
		if i%(2*perOctave) == 0 && i < len(counts)-1 {
			out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: new(math.Exp2(lowest + float64(i)/perOctave)), CumulativeCount: new(below)})
		}
	}
	spans(out, counts[1:])
	m.Histogram = out
	return nil
}

// spans writes the buckets that are not empty as native ones: runs of them, and the
// difference of each count from the one before.
func spans(out *dto.Histogram, counts []uint64) {
	var last int64
	end := math.MinInt // one past the last bucket written
	for i, n := range counts {
		if n == 0 {
			continue
		}
		// Native bucket k of schema 3 ends at 2^(k/8).
		at := lowest*perOctave + 1 + i
		switch {
		case end == math.MinInt:
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(int32(at)), Length: new(uint32(1))})
		case at == end:
			*out.PositiveSpan[len(out.PositiveSpan)-1].Length++
		default:
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(int32(at - end)), Length: new(uint32(1))})
		}
		out.PositiveDelta = append(out.PositiveDelta, int64(n)-last)
		last, end = int64(n), at+1
	}
	if len(out.PositiveSpan) == 0 {
		// An empty native histogram is told from a classic one by a span of nothing.
		out.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
}
