package rollout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Compat says how well a release reads the tokens of another.
type Compat string

// Compats, best first. Their names are also the classes of harmless tokens.
const (
	Native     Compat = "native"
	Mapped     Compat = "mapped"
	Lossy      Compat = "lossy"
	Reissuable Compat = "reissuable"
	None       Compat = "none"
)

// Classes of tainted tokens.
const (
	OverScoped    = "over_scoped"
	WrongAudience = "wrong_audience"
)

// CompatOf says how release to reads what release from minted.
func CompatOf(svc *epoch.Service, from, to string) Compat {
	reader, err := find(svc, to)
	if err != nil {
		return None
	}
	if from == to || slices.Contains(reader.Accept, from) || slices.Contains(reader.Accept, "*") {
		return Native
	}
	for _, m := range reader.Maps {
		switch {
		case m.From == from && m.Lossy:
			return Lossy
		case m.From == from:
			return Mapped
		}
	}
	if svc.OwnIssuer {
		return Reissuable // our authority can mint the shape that is read
	}
	return None
}

// defaults are what becomes of harmless tokens.
var defaults = map[Compat]mintmark.Disposition{
	Native: mintmark.Keep, Mapped: mintmark.Map, Lossy: mintmark.Reissue, Reissuable: mintmark.Reissue, None: mintmark.Revoke,
}

// protocolScopes speak to the authority, not to a service: no token is tainted by
// them (OpenID Connect Core §5.4, §11).
var protocolScopes = []string{"address", "email", "offline_access", "openid", "phone", "profile"}

// Rules says what becomes of a candidate's tokens when the stable release stays:
// what the stable release could not have minted is revoked, the rest goes by how
// well it is read.
func Rules(svc *epoch.Service, stable, candidate string, o Options) ([]epoch.DispositionRule, error) {
	s, err := find(svc, stable)
	if err != nil {
		return nil, err
	}
	if _, err := find(svc, candidate); err != nil {
		return nil, err
	}
	compat := CompatOf(svc, candidate, stable)
	rules := []epoch.DispositionRule{
		{Class: WrongAudience, AudienceBeyond: allowedAudience(svc, &s.Mint), Disposition: mintmark.Revoke},
		{Class: string(compat), Disposition: defaults[compat]},
	}
	if declaresScopes(svc, &s.Mint) {
		rules = slices.Insert(rules, 0, epoch.DispositionRule{Class: OverScoped, ScopesBeyond: allowedScopes(&s.Mint), Disposition: mintmark.Revoke})
	}
	left := maps.Clone(o.Override)
	for i := range rules {
		d, given := o.Override[rules[i].Class]
		if !given {
			d, given = o.declared(rules[i].Class, compat)
		}
		if given {
			rules[i].Disposition = d
			delete(left, rules[i].Class)
		}
		if rules[i].Class == string(compat) && rules[i].Disposition == mintmark.Map && !compat.maps() {
			return nil, fmt.Errorf("%w: release %s has no map for the tokens of %s", ErrInvalid, stable, candidate)
		}
		if rules[i].Class == string(None) && !given && o.Grace > 0 && o.Now > 0 {
			rules[i].GraceUntil = o.Now + o.Grace
		}
	}
	for class := range left {
		return nil, fmt.Errorf("%w: no token is of class %.40q; classes: %s, %s, %s", ErrInvalid, class, OverScoped, WrongAudience, compat)
	}
	return rules, nil
}

// Forward says what becomes of the stable release's tokens as traffic moves to a
// candidate: a rule for all of them.
func Forward(svc *epoch.Service, stable, candidate string) epoch.DispositionRule {
	c := CompatOf(svc, stable, candidate)
	return epoch.DispositionRule{Class: string(c), Disposition: defaults[c]}
}

// maps reports whether tokens so read can be mapped.
func (c Compat) maps() bool { return c == Native || c == Mapped || c == Lossy }

// declared is the spec's disposition of a class, where it is possible.
func (o *Options) declared(class string, compat Compat) (mintmark.Disposition, bool) {
	d, given := o.Declared[class]
	return d, given && (d != mintmark.Map || class != string(compat) || compat.maps())
}

// declaresScopes reports whether a release's policy says which scopes its tokens
// may have. One that stands for tokens of other issuers alone may leave them out:
// then no scope is evidence of anything.
func declaresScopes(svc *epoch.Service, m *epoch.Mint) bool {
	return svc.OwnIssuer || len(m.Scopes)+len(m.DefaultScopes)+len(m.ForcedScopes) > 0
}

// allowedAudience is never empty: a rule without a list would hold for every token.
// A policy that names no audience mints none; what the service answers to is right
// for tokens of other issuers.
func allowedAudience(svc *epoch.Service, m *epoch.Mint) []string {
	if len(m.Audience) > 0 {
		return mintmark.SortedSet(m.Audience)
	}
	return mintmark.SortedSet(svc.Audience)
}

// allowedScopes is never empty: a rule without a list would hold for every token.
func allowedScopes(m *epoch.Mint) []string {
	return mintmark.SortedSet(slices.Concat(m.Scopes, m.DefaultScopes, m.ForcedScopes, protocolScopes))
}

// Selectors names the tokens of a candidate that rules revoke at once, for the
// revocations that go into the same row as the inverse: they outlive the rules,
// and the authority and introspection go by them too. Control gives each the
// issuance number of that row as cut-off.
func Selectors(svc *epoch.Service, stable, candidate string, rules []epoch.DispositionRule) []mintmark.Selector {
	c, errC := find(svc, candidate)
	s, errS := find(svc, stable)
	if errC != nil || errS != nil {
		return nil
	}
	id := mintmark.NewReleaseID(svc.Name, candidate)
	var out []mintmark.Selector
	for _, rule := range rules {
		if rule.Disposition != mintmark.Revoke || rule.GraceUntil != 0 {
			continue
		}
		switch {
		case rule.Class == OverScoped:
			for _, scope := range beyond(allowedScopes(&c.Mint), allowedScopes(&s.Mint)) {
				out = append(out, mintmark.Selector{Release: id, Scope: scope})
			}
		case rule.Class == WrongAudience:
			for _, aud := range beyond(mintmark.SortedSet(c.Mint.Audience), allowedAudience(svc, &s.Mint)) {
				out = append(out, mintmark.Selector{Release: id, Audience: aud})
			}
		default:
			out = append(out, mintmark.Selector{Release: id})
		}
	}
	return out
}

func beyond(list, allowed []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return slices.Contains(allowed, x) })
}

// Classify returns the rule that decides about a token, or nil: the first whose
// conditions hold.
func Classify(rules []epoch.DispositionRule, t *mintmark.Token) *epoch.DispositionRule {
	for i := range rules {
		r := &rules[i]
		switch {
		case len(r.ScopesBeyond) > 0 && len(beyond(t.Scopes, r.ScopesBeyond)) == 0:
		case len(r.AudienceBeyond) > 0 && len(beyond(t.Audience, r.AudienceBeyond)) == 0:
		case r.Scope != "" && !t.HasScope(r.Scope):
		default:
			return r
		}
	}
	return nil
}

// Line is one class of live tokens in a plan.
type Line struct {
	Release, Under mintmark.ReleaseID
	Class          string
	Compat         Compat
	Tainted        bool
	Disposition    mintmark.Disposition
	Tokens         int64
}

// Plan is what moving to a candidate, and moving back, would mean.
type Plan struct {
	// Safe says that going back strands no harmless token: none would have to be
	// revoked because the stable release can't read it.
	Safe    bool
	Forward []Line // the stable release's tokens under the candidate
	Back    []Line // the candidate's tokens under the stable release
	Reasons []string
}

// NewPlan judges both directions. counts gives live tokens by release and class,
// as Classify tells them; classes that are not in it are taken as 0. The class of
// the harmless is judged even when there is no token of it yet: the candidate will
// mint some.
func NewPlan(svc *epoch.Service, stable, candidate string, counts map[mintmark.ReleaseID]map[string]int64) (Plan, error) {
	p := Plan{Safe: true}
	back, err := Rules(svc, stable, candidate, Options{})
	if err != nil {
		return p, err
	}
	c := CompatOf(svc, stable, candidate)
	from, to := mintmark.NewReleaseID(svc.Name, stable), mintmark.NewReleaseID(svc.Name, candidate)
	p.Forward = []Line{{Release: from, Under: to, Class: string(c), Compat: c, Disposition: defaults[c], Tokens: total(counts[from])}}
	if c == None {
		p.Reasons = append(p.Reasons, fmt.Sprintf("%s can't read the tokens of %s: they will be refused as traffic moves", to, from))
	}
	for _, rule := range back {
		line := Line{Release: to, Under: from, Class: rule.Class, Compat: CompatOf(svc, candidate, stable), Disposition: rule.Disposition, Tokens: counts[to][rule.Class]}
		line.Tainted = rule.Class == OverScoped || rule.Class == WrongAudience
		p.Back = append(p.Back, line)
		if !line.Tainted && rule.Disposition == mintmark.Revoke {
			p.Safe = false
			p.Reasons = append(p.Reasons, fmt.Sprintf("%s can't read the tokens of %s: a rollback would have to revoke them; let %s accept or map %s", from, to, from, candidate))
		}
	}
	for _, sel := range Selectors(svc, stable, candidate, back) {
		if sel.Scope != "" || sel.Audience != "" {
			p.Reasons = append(p.Reasons, fmt.Sprintf("%s may mint %s, which %s never would: a rollback revokes such tokens", to, taint(sel), from))
		}
	}
	slices.Sort(p.Reasons)
	return p, nil
}

func total(m map[string]int64) (n int64) {
	for _, x := range m {
		n += x
	}
	return n
}

func taint(s mintmark.Selector) string {
	if s.Scope != "" {
		return "scope " + s.Scope
	}
	return "audience " + s.Audience
}
