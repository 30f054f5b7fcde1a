package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	mathrand "math/rand/v2"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/exposure"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/whatif"
)

// Bounds of the samples that policies are tried on.
const (
	samplesEach = 8                // of each service and outcome, in each interval
	samplesAll  = 256              // of a gateway, in each interval
	sampleEvery = 10 * time.Second // interval
	maxRecord   = 16 << 10         // bytes
	ringSize    = 20_000           // records that control keeps
	ringSeconds = 24 * 3600
)

// sampling is a gateway's meter that keeps samples of requests besides. Subjects go
// by a pseudonym under a key that is gone with the process.
type sampling struct {
	*exposure.Meter
	reservoir *whatif.Reservoir
	key       [32]byte
	last      time.Time // owned by drain
}

func newSampling(m *exposure.Meter, c counted) *sampling {
	s := &sampling{Meter: m, reservoir: whatif.NewReservoir(samplesEach, mathrand.Float64)}
	_, _ = rand.Read(s.key[:])
	c.Include(s.drain)
	return s
}

// Observe implements gateway.Meter.
func (s *sampling) Observe(o *health.Observed) {
	s.Meter.Observe(o)
	if o.Route == nil {
		return
	}
	s.reservoir.Offer(o.Route.Service.Name, o.Code, func() whatif.Shape {
		return whatif.ShapeOf(o.Route, o.Method, o.Code, o.Served, o.Token, o.Snapshot.Epoch, o.Now, s.pseudonym)
	})
}

func (s *sampling) pseudonym(subject string) string {
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(subject))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// drain puts what was kept into a batch of records, once in each interval.
func (s *sampling) drain(b *bus.RecordBatch) {
	now := time.Now()
	if now.Sub(s.last) < sampleEvery {
		return
	}
	s.last = now
	shapes := s.reservoir.Take()
	mathrand.Shuffle(len(shapes), func(i, j int) { shapes[i], shapes[j] = shapes[j], shapes[i] })
	if n := len(shapes); n > samplesAll {
		shapes = shapes[:samplesAll]
		for i := range shapes { // those that stay stand for those that go
			shapes[i].Weight = shapes[i].Weight * int64(n) / samplesAll
		}
	}
	list, err := whatif.Encode(shapes)
	if err != nil {
		return
	}
	for _, record := range list {
		if len(record) <= maxRecord {
			b.Shapes = append(b.Shapes, record)
		}
	}
}

// keep takes the samples of a batch that became durable.
func keep(ring *whatif.Ring, b *bus.RecordBatch) {
	if len(b.Shapes) == 0 {
		return
	}
	shapes := whatif.Decode(b.Shapes)
	for i := range shapes {
		shapes[i].Gateway = b.Gateway
	}
	ring.Add(shapes, time.Now().Unix())
}
