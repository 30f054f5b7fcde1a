package projection

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// foldUsage coalesces one gateway's batch into the rows it touches, sorted by
// key: the store's pages are then visited in order. The same batch a second time
// is refused by the store (ledger.ErrUsed).
func foldUsage(e *mintmark.Event) (ledger.Changes, error) {
	var b bus.RecordBatch
	if err := decode(e, &b); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "gateway", string(b.Gateway)); err != nil {
		return ledger.Changes{}, err
	}
	if b.Boot == "" || b.Seq == 0 {
		return ledger.Changes{}, fmt.Errorf("usage batch of %s without boot or number", b.Gateway)
	}
	u := &ledger.Usage{Gateway: b.Gateway, Boot: b.Boot, Seq: b.Seq}
	u.Tokens, u.Routes, u.Hours = coalesce(b.Usage)
	c := ledger.Changes{Usage: u}
	for i := range b.Foreign {
		t := b.Foreign[i]
		// A gateway may make foreign tokens known, never tokens of ours.
		if t.Kind != mintmark.KindForeign || t.ID == "" {
			continue
		}
		t.Claims = nil // what another issuer said of a person stays with it
		c.Seen = append(c.Seen, ledger.TokenRow{Token: t, State: mintmark.StateActive})
	}
	return c, nil
}

type routeKey struct {
	token  mintmark.TokenID
	route  string
	served mintmark.ReleaseID
	code   mintmark.Code
}

type hourKey struct {
	hour            int64
	release, served mintmark.ReleaseID
	route           string
	code            mintmark.Code
}

func coalesce(deltas []bus.UsageDelta) ([]ledger.TokenUsage, []ledger.RouteUsage, []ledger.HourUsage) {
	tokens := make(map[mintmark.TokenID]ledger.TokenUsage, len(deltas))
	routes := make(map[routeKey]ledger.RouteUsage, len(deltas))
	hours := make(map[hourKey]uint64)
	for i := range deltas {
		d := &deltas[i]
		hours[hourKey{d.Last / 3_600_000 * 3600, d.Release, d.Served, d.Route, d.Code}] += d.N
		if d.Token == "" {
			continue
		}
		t, ok := tokens[d.Token]
		if !ok {
			t = ledger.TokenUsage{Token: d.Token, First: d.First}
		}
		if d.Code == mintmark.CodeNone {
			t.Uses += d.N
		} else {
			t.Refused += d.N
		}
		if d.Last >= t.Last {
			t.Last, t.Route = d.Last, d.Route
		}
		t.First = min(t.First, d.First)
		tokens[d.Token] = t

		k := routeKey{d.Token, d.Route, d.Served, d.Code}
		r, ok := routes[k]
		if !ok {
			r = ledger.RouteUsage{Token: d.Token, Route: d.Route, Served: d.Served, Code: d.Code, First: d.First}
		}
		r.N += d.N
		r.First, r.Last = min(r.First, d.First), max(r.Last, d.Last)
		routes[k] = r
	}
	return sortedTokens(tokens), sortedRoutes(routes), sortedHours(hours)
}

func sortedTokens(m map[mintmark.TokenID]ledger.TokenUsage) []ledger.TokenUsage {
	out := make([]ledger.TokenUsage, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b ledger.TokenUsage) int { return cmp.Compare(a.Token, b.Token) })
	return out
}

func sortedRoutes(m map[routeKey]ledger.RouteUsage) []ledger.RouteUsage {
	out := make([]ledger.RouteUsage, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b ledger.RouteUsage) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Served, b.Served), cmp.Compare(a.Code, b.Code))
	})
	return out
}

func sortedHours(m map[hourKey]uint64) []ledger.HourUsage {
	out := make([]ledger.HourUsage, 0, len(m))
	for k, n := range m {
		out = append(out, ledger.HourUsage{Hour: k.hour, Release: k.release, Served: k.served, Route: k.route, Code: k.code, N: n})
	}
	slices.SortFunc(out, func(a, b ledger.HourUsage) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Release, b.Release), cmp.Compare(a.Served, b.Served),
			cmp.Compare(a.Route, b.Route), cmp.Compare(a.Code, b.Code))
	})
	return out
}
