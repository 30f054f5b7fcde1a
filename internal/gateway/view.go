package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/upstream"
)

// view is what the gateway derives from one epoch's table, made once per epoch and
// immutable: pools, transformations, counters.
type view struct {
	table  *epoch.Table
	number string // the fence header's value
	epoch  uint64
	routes []routeView // by RouteEntry.Index
	to     map[*epoch.ReleaseEntry]*destination
}

// destination is where requests for one release go.
type destination struct {
	pool *upstream.Pool
	answers
}

// routeView is one route, ready to serve.
type routeView struct {
	admitted *admitted
	reserved map[string]bool // normalised names of the service's claim headers
	claims   []claimHeader
	request  headerChange
	response headerChange
	timeout  time.Duration
}

type claimHeader struct{ claim, header string }

type headerChange struct {
	remove []string
	set    [][2]string
}

// viewOf returns the view of a snapshot, building it when the epoch is new.
func (g *Gateway) viewOf(snap *epoch.Snapshot) (*view, error) {
	if v := g.view.Load(); v != nil && v.table == snap.Table && v.epoch == snap.Epoch {
		return v, nil
	}
	g.building.Lock()
	defer g.building.Unlock()
	if v := g.view.Load(); v != nil && v.table == snap.Table && v.epoch == snap.Epoch {
		return v, nil
	}
	v, err := g.buildView(snap)
	if err != nil {
		return nil, err
	}
	old := g.view.Swap(v)
	keep := make([]*upstream.Pool, 0, len(v.to))
	for _, to := range v.to {
		keep = append(keep, to.pool)
	}
	if old != nil {
		for _, to := range old.to {
			keep = append(keep, to.pool)
		}
	}
	g.cfg.Upstreams.Retain(keep)
	return v, nil
}

func (g *Gateway) buildView(snap *epoch.Snapshot) (*view, error) {
	t := snap.Table
	v := &view{
		table: t, epoch: snap.Epoch, number: strconv.FormatUint(snap.Epoch, 10),
		routes: make([]routeView, len(t.Routes())),
		to:     map[*epoch.ReleaseEntry]*destination{},
	}
	reserved := map[*epoch.ServiceEntry]map[string]bool{}
	for _, s := range t.Services() {
		names := map[string]bool{}
		for i := range s.Routes {
			if tr := s.Routes[i].Transform; tr != nil {
				for _, h := range tr.Claims {
					names[identity.Normal(h)] = true
				}
			}
		}
		reserved[s] = names
		for i := range s.Releases {
			r := t.Release(releaseID(s, i))
			if r == nil {
				continue
			}
			p, err := g.cfg.Upstreams.Pool(r.ID, r.Release)
			if err != nil {
				return nil, err
			}
			v.to[r] = &destination{pool: p, answers: answers{of: g.metrics.upstreams, release: string(r.ID)}}
		}
	}
	for _, r := range t.Routes() {
		v.routes[r.Index] = newRouteView(r, reserved[r.Service])
	}
	return v, nil
}

func newRouteView(r *epoch.RouteEntry, reserved map[string]bool) routeView {
	rv := routeView{admitted: new(admitted), reserved: reserved, timeout: time.Duration(r.TimeoutMS) * time.Millisecond}
	tr := r.Transform
	if tr == nil {
		return rv
	}
	for claim, header := range tr.Claims {
		rv.claims = append(rv.claims, claimHeader{claim, canonical(header)})
	}
	rv.request = compileChange(tr.Request)
	rv.response = compileChange(tr.Response)
	return rv
}

func compileChange(c epoch.HeaderChange) headerChange {
	var out headerChange
	for _, n := range c.Remove {
		out.remove = append(out.remove, canonical(n))
	}
	for n, val := range c.Set {
		// The control plane refuses these; a gateway does not rely on it.
		if identity.Reserved(n) || identity.Ours(n) || strings.ContainsAny(val, "\r\n\x00") {
			continue
		}
		out.set = append(out.set, [2]string{canonical(n), val})
	}
	return out
}
