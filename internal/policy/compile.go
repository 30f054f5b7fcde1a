package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Compiled is what a set means.
type Compiled struct {
	// Services by name, sorted; each Split names the stable release of the first
	// apply only: control puts the state of rollouts over it.
	Services []epoch.Service
	// Issuers without fetched keys.
	Issuers epoch.Issuers
	// Clients and Users are the declared members of the authority's documents, by
	// id; secrets and passwords are not among them.
	Clients map[string]json.RawMessage
	Users   map[string]json.RawMessage
}

// Defaults of policies that leave a lifetime out.
const (
	defaultAccess  = Duration(10 * time.Minute)
	defaultRefresh = Duration(30 * 24 * time.Hour)
	defaultGrace   = Duration(30 * time.Second)
)

// Effective returns a policy with what it inherits and with defaults filled in.
func (s Set) Effective(name string) (Policy, error) {
	var chain []*Policy
	for at := name; at != ""; {
		r := s.Get(KindPolicy, at)
		if r == nil {
			return Policy{}, fmt.Errorf("there is no Policy %q", at)
		}
		p := r.Spec.(*Policy)
		if slices.Contains(chain, p) {
			return Policy{}, fmt.Errorf("policies extend each other in a circle: %q comes back to itself", at)
		}
		chain = append(chain, p)
		at = p.Extends
	}
	out := Policy{Format: "jwt", Alg: "ES256", Access: defaultAccess, Refresh: defaultRefresh, Grace: defaultGrace}
	for _, p := range slices.Backward(chain) {
		inherit(&out, p)
	}
	out.Header = chain[0].Header
	out.Extends = ""
	return out, nil
}

// inherit puts what p gives over out: lists replace, claims merge.
func inherit(out, p *Policy) {
	claims := maps.Clone(out.Claims)
	to, from := reflect.ValueOf(out).Elem(), reflect.ValueOf(p).Elem()
	for i := range from.NumField() {
		if !from.Type().Field(i).Anonymous && !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	if len(p.Claims) > 0 && len(claims) > 0 {
		maps.Copy(claims, p.Claims)
		out.Claims = claims
	}
}

// Versions gives each policy of a set its version for marks: as before while what
// it means is the same, one more when that changed, 1 when it is new.
func Versions(old Set, before map[string]uint64, now Set) map[string]uint64 {
	out := map[string]uint64{}
	for _, name := range now.names(KindPolicy) {
		a, errA := old.Effective(name)
		b, errB := now.Effective(name)
		a.Description, b.Description = "", ""
		if out[name] = before[name]; errA != nil || errB != nil || !reflect.DeepEqual(a, b) || out[name] == 0 {
			out[name]++
		}
	}
	// A policy that is removed keeps its number, so that one of the same name made
	// later can't mint under a version that meant something else.
	for name, v := range before {
		if _, ok := out[name]; !ok {
			out[name] = v
		}
	}
	return out
}

// Compile turns a checked set into what gateways and the authority work with.
// The set must have passed Check.
func Compile(s Set, versions map[string]uint64) (Compiled, error) {
	out := Compiled{Clients: map[string]json.RawMessage{}, Users: map[string]json.RawMessage{}}
	var failed error
	each(s, func(r *Resource, v *Service) {
		svc, err := compileService(s, v, versions)
		if err != nil && failed == nil {
			failed = fmt.Errorf("compile %s: %w", r.ID(), err)
		}
		out.Services = append(out.Services, svc)
	})
	each(s, func(r *Resource, v *Issuer) {
		i, err := compileIssuer(v)
		if err != nil && failed == nil {
			failed = fmt.Errorf("compile %s: %w", r.ID(), err)
		}
		out.Issuers.Issuers = append(out.Issuers.Issuers, i)
		if i.StatusList {
			out.Issuers.Requires = []string{epoch.FeatureStatusList}
		}
	})
	each(s, func(_ *Resource, v *Client) { out.Clients[v.Name] = clientDocument(v) })
	each(s, func(_ *Resource, v *User) { out.Users[v.Name] = userDocument(v) })
	return out, failed
}

func compileService(s Set, v *Service, versions map[string]uint64) (epoch.Service, error) {
	out := epoch.Service{
		Name: v.Name, Hosts: v.Hosts, Audience: mintmark.SortedSet(v.Audience), Issuers: v.Issuers, OwnIssuer: !v.RefuseOwn,
	}
	for _, route := range v.Routes {
		r, err := compileRoute(route)
		if err != nil {
			return out, err
		}
		out.Routes = append(out.Routes, r)
	}
	for _, name := range s.releasesOf(v.Name) {
		rel := s.Get(KindRelease, v.Name+"/"+name).Spec.(*Release)
		r, err := compileRelease(s, name, rel, versions)
		if err != nil {
			return out, err
		}
		out.Releases = append(out.Releases, r)
	}
	out.Split.Stable = v.Release
	if v.Release == "" && len(out.Releases) == 1 {
		out.Split.Stable = out.Releases[0].Name
	}
	return out, nil
}

func compileRoute(r Route) (epoch.Route, error) {
	out := epoch.Route{
		Name: r.Name, Path: r.Path, Methods: r.Methods, Headers: r.Headers, Public: r.Public, Scopes: mintmark.SortedSet(r.Scopes),
		ACR: r.ACR, MaxAge: r.MaxAge.Seconds(), Bound: r.Bound, Staleness: r.Staleness, Audit: r.Audit,
		TimeoutMS: r.Timeout.Milliseconds(), Retries: r.Retries, MaxBody: r.MaxBody,
	}
	if len(out.Scopes) == 0 {
		out.Scopes = nil
	}
	for _, k := range r.Kinds {
		var kind mintmark.TokenKind
		if err := kind.UnmarshalText([]byte(k)); err != nil {
			return out, err
		}
		out.Kinds = append(out.Kinds, kind)
	}
	if l := r.RateLimit; l != nil {
		out.RateLimit = &epoch.RateLimit{PerMinute: l.PerMinute, Burst: l.Burst, By: l.By}
	}
	if t := r.Transform; t != nil {
		out.Transform = &epoch.Transform{
			StripPrefix: t.StripPrefix, AddPrefix: t.AddPrefix, Host: t.Host, Claims: t.Claims, PassToken: t.PassToken,
			Request: headerChange(t.Request), Response: headerChange(t.Response),
		}
	}
	return out, nil
}

func headerChange(c *HeaderChange) epoch.HeaderChange {
	if c == nil {
		return epoch.HeaderChange{}
	}
	return epoch.HeaderChange{Remove: c.Remove, Set: c.Set}
}

func compileRelease(s Set, name string, rel *Release, versions map[string]uint64) (epoch.Release, error) {
	p, err := s.Effective(rel.Policy)
	if err != nil {
		return epoch.Release{}, err
	}
	out := epoch.Release{Name: name, Accept: mintmark.SortedSet(append(slices.Clone(rel.Accept), known(p.Accept, s, rel.Name)...))}
	for _, u := range rel.Upstreams {
		out.Upstreams = append(out.Upstreams, epoch.Upstream{URL: strings.TrimSuffix(u.URL, "/"), Weight: u.Weight})
	}
	if h := rel.Health; h != nil {
		out.Health = &epoch.Health{Path: h.Path, IntervalMS: h.Interval.Milliseconds(), Unhealthy: h.Unhealthy, Healthy: h.Healthy}
	}
	for _, m := range rel.Maps {
		out.Maps = append(out.Maps, epoch.ShapeMap{From: m.From, Rename: m.Rename, Default: m.Default, Drop: m.Drop, Lossy: m.Lossy})
	}
	out.Mint = epoch.Mint{
		Policy: p.Name, Version: versions[p.Name], Format: p.Format, Audience: mintmark.SortedSet(p.Audience),
		Scopes: mintmark.SortedSet(p.Scopes), DefaultScopes: orNil(mintmark.SortedSet(p.DefaultScopes)), ForcedScopes: orNil(mintmark.SortedSet(p.ForcedScopes)),
		AccessSeconds: p.Access.Seconds(), RefreshSeconds: p.Refresh.Seconds(), GraceSeconds: p.Grace.Seconds(), Claims: p.Claims,
		StatusList: p.StatusList && p.Format == "jwt",
	}
	if p.Format == "jwt" {
		out.Mint.Alg = p.Alg
	}
	if len(out.Accept) == 0 {
		out.Accept = nil
	}
	return out, nil
}

// known keeps those of a policy's accepted releases that the service has: a policy
// may be shared by services.
func known(accept []string, s Set, release string) []string {
	siblings := s.releasesOf(mintmark.ReleaseID(release).Service())
	return slices.DeleteFunc(slices.Clone(accept), func(a string) bool { return a != "*" && !slices.Contains(siblings, a) })
}

func orNil(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func compileIssuer(v *Issuer) (epoch.Issuer, error) {
	out := epoch.Issuer{Name: v.Name, Issuer: v.Issuer, SkewSeconds: int(v.Skew.Seconds()), Claims: v.Claims, Introspect: v.Introspect != nil, StatusList: v.StatusList}
	for _, t := range v.Types {
		out.Types = append(out.Types, strings.TrimPrefix(strings.ToLower(t), "application/"))
	}
	if v.Introspect != nil {
		out.Prefix = v.Introspect.Prefix
	}
	if v.Discovery || v.JWKSURI != "" {
		out.MaxAge = 24 * 3600
		if v.MaxAge > 0 {
			out.MaxAge = v.MaxAge.Seconds()
		}
	}
	for _, m := range v.Marks {
		out.Marks = append(out.Marks, epoch.MarkRule{Release: mintmark.ReleaseID(m.Release), KeyID: m.KeyID, Claim: m.Claim, Value: m.Value, IssuedFrom: m.IssuedFrom, IssuedTo: m.IssuedTo})
	}
	if v.JWKS == nil {
		return out, nil
	}
	keys, err := publicKeys(v.JWKS)
	if err != nil {
		return out, err
	}
	for i, k := range keys {
		var head struct {
			ID  string `json:"kid"`
			Alg string `json:"alg"`
			Use string `json:"use"`
		}
		if err := json.Unmarshal(k, &head); err != nil {
			return out, err
		}
		if head.Use == "enc" {
			continue
		}
		if head.ID == "" || head.Alg == "" {
			return out, fmt.Errorf("jwks.keys[%d] needs kid and alg: the algorithm is pinned (RFC 8725 §3.1)", i)
		}
		out.Keys = append(out.Keys, epoch.Key{ID: head.ID, Alg: head.Alg, JWK: k, State: "active"})
	}
	return out, nil
}

// grantTypes are the long names that the wire uses.
var grantTypes = map[string]string{
	"device_code":    "urn:ietf:params:oauth:grant-type:device_code",
	"token_exchange": "urn:ietf:params:oauth:grant-type:token-exchange",
	"jwt_bearer":     "urn:ietf:params:oauth:grant-type:jwt-bearer",
}

// clientDocument gives the declared members of the ledger document client/<id>;
// their names are the authority's.
func clientDocument(c *Client) json.RawMessage {
	m := map[string]any{
		"id": c.Name, "name": c.Title, "auth_method": c.Auth, "jwks": c.JWKS, "tls_subject": c.TLSSubject, "tls_thumbprints": c.TLSThumbprints,
		"redirect_uris": c.RedirectURIs, "scopes": mintmark.SortedSet(c.Scopes), "audiences": c.Audiences, "first_party": c.FirstParty,
		"introspect": c.Introspect, "require_par": c.RequirePAR, "bound": c.Bound, "assertion_issuers": c.AssertionIssuers,
		"claims": c.Claims, "disabled": c.Disabled, "declared": true,
	}
	if c.Auth == "" {
		m["auth_method"] = "none"
	}
	var grants []string
	for _, g := range c.Grants {
		if long := grantTypes[g]; long != "" {
			g = long
		}
		grants = append(grants, g)
	}
	m["grant_types"] = grants
	if h := c.Hook; h != nil {
		m["renewal_hook"] = map[string]any{"url": h.URL, "timeout_ms": h.Timeout.Milliseconds(), "outage": h.Outage, "outage_seconds": h.OutageFor.Seconds()}
	} else {
		m["renewal_hook"] = nil
	}
	b, _ := json.Marshal(m) // maps of text, lists and checked JSON can't fail
	return b
}

// userDocument gives the declared members of the ledger document user/<name>.
func userDocument(u *User) json.RawMessage {
	sub := u.Subject
	if sub == "" {
		sub = u.Name
	}
	b, _ := json.Marshal(map[string]any{"name": u.Name, "sub": u.Subject, "ref": "sub:" + sub, "claims": u.Claims, "disabled": u.Disabled, "declared": true})
	return b
}
