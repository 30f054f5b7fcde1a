package epoch

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

func (c *compiler) service(body []byte) {
	s, err := DecodeService(body)
	if err != nil {
		c.fail("", "%w", err)
		return
	}
	if ServicePartName(s.Name) != c.part {
		c.fail("name", "%.70q is not the part's", s.Name)
	}
	if len(s.Audience) == 0 || slices.Contains(s.Audience, "") {
		c.fail("audience", "is empty: name what this service answers to")
	}
	for i, h := range s.Hosts {
		if !hostPattern(h) {
			c.fail(fmt.Sprintf("hosts[%d]", i), "%.80q: want a lower-case name without port, or *.name", h)
		}
	}
	for i, name := range s.Issuers {
		if !c.names[name] {
			c.fail(fmt.Sprintf("issuers[%d]", i), "%.70q is not among the issuers", name)
		}
	}
	e := &ServiceEntry{Service: s, salt: newSaltKey(s.Split.Salt)}
	c.releases(e)
	c.split(e)
	c.previews(e)
	c.retired(e)
	c.table.byName[s.Name] = e
	c.table.services = append(c.table.services, e) // parts come sorted by name
	for _, a := range s.Audience {
		if c.table.byAud[a] == nil {
			c.table.byAud[a] = e
		}
	}
	c.routes(e)
}

func hostPattern(h string) bool {
	h = strings.TrimPrefix(h, "*.")
	if h == "" || len(h) > 253 || h[0] == '.' || h[len(h)-1] == '.' || strings.Contains(h, "..") {
		return false
	}
	for _, b := range []byte(h) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' && b != '_' {
			return false
		}
	}
	return true
}

func (c *compiler) releases(s *ServiceEntry) {
	if len(s.Releases) == 0 {
		c.fail("releases", "is empty")
	}
	for i := range s.Releases {
		r := &s.Releases[i]
		field := fmt.Sprintf("releases[%d]", i)
		id := mintmark.NewReleaseID(s.Name, r.Name)
		e := &ReleaseEntry{Release: r, ID: id, Service: s, accept: map[mintmark.ReleaseID]bool{}, maps: map[mintmark.ReleaseID]*ShapeMap{}}
		switch {
		case !mintmark.IsName(r.Name):
			c.fail(field+".name", "%.70q is not a name", r.Name)
		case c.table.releases[id] != nil:
			c.fail(field+".name", "%s is there twice", r.Name)
		}
		if len(r.Upstreams) == 0 && len(s.Routes) > 0 {
			c.fail(field+".upstreams", "is empty")
		}
		for n, u := range r.Upstreams {
			c.upstream(fmt.Sprintf("%s.upstreams[%d]", field, n), u)
		}
		if h := r.Health; h != nil && (!PathOK(h.Path) || h.IntervalMS < 0 || h.Unhealthy < 0 || h.Healthy < 0) {
			c.fail(field+".health", "want a path that starts with / and numbers that are not negative")
		}
		for n, name := range r.Accept {
			switch {
			case name == "*":
				e.acceptAll = true
			case mintmark.IsName(name):
				e.accept[mintmark.NewReleaseID(s.Name, name)] = true
			default:
				c.fail(fmt.Sprintf("%s.accept[%d]", field, n), "%.70q: want a release's name or *", name)
			}
		}
		for n := range r.Maps {
			m := &r.Maps[n]
			from := mintmark.NewReleaseID(s.Name, m.From)
			if !mintmark.IsName(m.From) || e.maps[from] != nil {
				c.fail(fmt.Sprintf("%s.maps[%d].from", field, n), "%.70q: want each release's name once", m.From)
			}
			e.maps[from] = m
		}
		c.mint(field+".mint", &r.Mint)
		c.table.releases[id] = e
		s.releases = append(s.releases, e)
	}
}

func (c *compiler) upstream(field string, u Upstream) {
	p, err := url.Parse(u.URL)
	switch {
	case err != nil:
		c.fail(field+".url", "%.120q cannot be read", u.URL)
	case p.Scheme != "http" && p.Scheme != "https" && p.Scheme != "h2c",
		p.Host == "", p.User != nil, p.RawQuery != "", p.Fragment != "":
		c.fail(field+".url", "%.120q: want http, https or h2c, a host, and neither user, query nor fragment", p.Redacted())
	}
	if u.Weight < 0 || u.Weight > 1_000_000 {
		c.fail(field+".weight", "%d: want 0 to 1,000,000", u.Weight)
	}
}

func (c *compiler) mint(field string, m *Mint) {
	if m.Format == "" && m.Policy == "" {
		return // a release that mints nothing: its tokens come from elsewhere
	}
	if m.Format != "jwt" && m.Format != "opaque" {
		c.fail(field+".format", "%.40q: want jwt or opaque", m.Format)
	}
	if m.AccessSeconds <= 0 || m.RefreshSeconds < 0 || m.GraceSeconds < 0 {
		c.fail(field+".access_seconds", "lifetimes must be positive")
	}
}

func (c *compiler) split(s *ServiceEntry) {
	p := &s.Split
	if w := p.Watch; w != nil && (len(w.LatencyUS) > 3 || len(w.User) > 8 || !slices.IsSorted(w.LatencyUS)) {
		c.fail("split.watch", "want at most 3 durations, ascending, and 8 expressions")
	}
	s.Stable = c.table.releases[mintmark.NewReleaseID(s.Name, p.Stable)]
	if s.Stable == nil {
		c.fail("split.stable", "%.70q is not among the releases", p.Stable)
	}
	if p.Candidate == "" {
		if p.Weight != 0 {
			c.fail("split.weight", "%d without a candidate", p.Weight)
		}
		return
	}
	s.Candidate = c.table.releases[mintmark.NewReleaseID(s.Name, p.Candidate)]
	switch {
	case s.Candidate == nil:
		c.fail("split.candidate", "%.70q is not among the releases", p.Candidate)
	case s.Candidate == s.Stable:
		c.fail("split.candidate", "%s is the stable release itself", p.Candidate)
	}
	if p.Weight < 0 || p.Weight > Cohorts {
		c.fail("split.weight", "%d: want 0 to 10,000", p.Weight)
	}
	if p.Salt == "" {
		c.fail("split.salt", "is empty: cohorts could be foretold")
	}
}

func (c *compiler) retired(s *ServiceEntry) {
	for i := range s.Retired {
		r := &s.Retired[i]
		field := fmt.Sprintf("retired[%d]", i)
		if !mintmark.IsName(r.Release) {
			c.fail(field+".release", "%.70q is not a name", r.Release)
		}
		if r.Window < 0 || r.Start < 0 {
			c.fail(field+".window", "is negative")
		}
		for n, d := range r.Rules {
			if d.Class == "" || d.Disposition > mintmark.Revoke {
				c.fail(fmt.Sprintf("%s.rules[%d]", field, n), "want a class and a known disposition")
			}
		}
		id := mintmark.NewReleaseID(s.Name, r.Release)
		c.table.retired[id] = append(c.table.retired[id], r)
	}
}
