package spool

import (
	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// maxHealth is how many deltas of health are held while nothing can be stored.
const maxHealth = 16

// maxShapes is how many samples of requests are held while nothing can be stored.
const maxShapes = 512

// maxDeltas keeps a batch well under the bus's largest message.
const maxDeltas = 8192

// split cuts a batch into sendable ones. The first is b itself, cut short, so that
// what was stored of it is gone from it.
func split(b *bus.RecordBatch) []*bus.RecordBatch {
	parts := []*bus.RecordBatch{b}
	// What rollouts are judged by goes in batches of its own, which the recorder
	// files apart.
	health := b.Health
	if len(b.Usage)+len(b.Refusals)+len(b.Uses)+len(b.Foreign)+len(b.Shapes) == 0 && len(health) == 1 {
		return parts
	}
	b.Health = nil
	if len(health) > 0 && empty(b) {
		b.Health, health = health[:1], health[1:]
	}
	for _, h := range health {
		parts = append(parts, &bus.RecordBatch{Health: [][]byte{h}})
	}
	if len(b.Usage) <= maxDeltas {
		return parts
	}
	rest := b.Usage[maxDeltas:]
	b.Usage = b.Usage[:maxDeltas]
	for len(rest) > 0 {
		n := min(len(rest), maxDeltas)
		parts = append(parts, &bus.RecordBatch{Usage: rest[:n]})
		rest = rest[n:]
	}
	return parts
}

// total is the key of counts without their token.
type total struct {
	release, served mintmark.ReleaseID
	route           string
	code            mintmark.Code
}

// coalesce drops tokens from a batch's counts and sums what is then alike: its
// size is bounded by routes, releases and codes. What it leaves out it counts.
func coalesce(b *bus.RecordBatch) *bus.RecordBatch {
	out := &bus.RecordBatch{
		Booted: b.Booted, Lost: b.Lost, Sampled: b.Sampled, Coalesced: b.Coalesced,
		RefusalsLost: b.RefusalsLost + uint64(len(b.Refusals)), ForeignLost: b.ForeignLost + uint64(len(b.Foreign)),
		HealthLost: b.HealthLost, Health: b.Health,
	}
	if n := len(out.Health) - maxHealth; n > 0 {
		out.Health, out.HealthLost = out.Health[n:], out.HealthLost+uint64(n)
	}
	at := map[total]int{}
	for _, d := range b.Usage {
		if d.Token != "" {
			out.Coalesced += d.N
		}
		k := total{d.Release, d.Served, d.Route, d.Code}
		i, ok := at[k]
		if !ok {
			i = len(out.Usage)
			at[k] = i
			out.Usage = append(out.Usage, bus.UsageDelta{Release: d.Release, Served: d.Served, Route: d.Route, Code: d.Code, First: d.First})
		}
		u := &out.Usage[i]
		u.N += d.N
		u.First, u.Last = min(u.First, d.First), max(u.Last, d.Last)
	}
	return out
}

// merge adds more to b.
func merge(b, more *bus.RecordBatch) {
	b.Usage = append(b.Usage, more.Usage...)
	b.Refusals = append(b.Refusals, more.Refusals...)
	b.Foreign = append(b.Foreign, more.Foreign...)
	b.Health = append(b.Health, more.Health...)
	b.Shapes = append(b.Shapes, more.Shapes...)
	b.Shapes = b.Shapes[max(0, len(b.Shapes)-maxShapes):]
	b.HealthLost += more.HealthLost
	b.Sampled += more.Sampled
	b.Coalesced += more.Coalesced
	b.RefusalsLost += more.RefusalsLost
	b.ForeignLost += more.ForeignLost
	b.Booted, b.Lost = b.Booted || more.Booted, b.Lost || more.Lost
}

// empty reports whether a batch tells nothing.
func empty(b *bus.RecordBatch) bool {
	return !b.Booted && len(b.Usage)+len(b.Refusals)+len(b.Uses)+len(b.Foreign)+len(b.Health)+len(b.Shapes) == 0 &&
		b.Sampled+b.Coalesced+b.RefusalsLost+b.ForeignLost+b.HealthLost == 0
}

// uses is how many decisions a batch counts.
func uses(b *bus.RecordBatch) uint64 {
	var n uint64
	for i := range b.Usage {
		n += b.Usage[i].N
	}
	return n
}
