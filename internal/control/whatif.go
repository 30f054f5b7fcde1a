package control

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

// Candidate is what would be in force after an apply.
type Candidate struct {
	Changes  []api.Change
	Warnings []string
	// Table is compiled from the very parts that the apply would commit, but for our
	// authority's keys: it decides about verified tokens only.
	Table *epoch.Table

	old, now policy.Set
	services []*epoch.Service
}

// Candidate decides what an apply of files would put in force, and changes nothing.
// policy.Errors say what is wrong with them.
func (c *Control) Candidate(ctx context.Context, files []api.File, prune bool) (*Candidate, error) {
	list := make([]policy.File, len(files))
	for i, f := range files {
		list[i] = policy.File{Name: f.Name, Text: f.Text}
	}
	declared, errs := policy.Parse(list)
	if len(errs) > 0 {
		return nil, errs
	}
	old, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	state, version, err := c.serial(ctx)
	if err != nil {
		return nil, err
	}
	a := &application{c: c, old: old, now: old.Merge(declared, prune), state: state, version: version, try: true}
	if err := a.decide(ctx); err != nil {
		return nil, err
	}
	out := &Candidate{Changes: a.shown, Warnings: a.warnings, old: a.old, now: a.now}
	return out, out.build(c.cfg.State.Current().Table, a.parts)
}

// build makes the table of parts over those in force; a part that is nil is gone.
func (n *Candidate) build(current *epoch.Table, changed map[epoch.PartName][]byte) error {
	var parts []any
	for _, s := range current.Services() {
		if _, ok := changed[epoch.ServicePartName(s.Name)]; !ok {
			n.services = append(n.services, s.Service)
		}
	}
	issuers := &epoch.Issuers{}
	for _, i := range current.Issuers() {
		issuers.Issuers = append(issuers.Issuers, *i.Issuer)
	}
	for name, body := range changed {
		switch {
		case body == nil:
		case name == epoch.PartIssuers:
			var err error
			if issuers, err = epoch.DecodeIssuers(body); err != nil {
				return fmt.Errorf("read part %s: %w", name, err)
			}
		default:
			s, err := epoch.DecodeService(body)
			if err != nil {
				return fmt.Errorf("read part %s: %w", name, err)
			}
			n.services = append(n.services, s)
		}
	}
	for _, s := range n.services {
		parts = append(parts, s)
	}
	if len(issuers.Issuers) > 0 {
		parts = append(parts, issuers)
	}
	m, bodies, err := epoch.Build(parts...)
	if err != nil {
		return fmt.Errorf("build what would be in force: %w", err)
	}
	if n.Table, err = epoch.Compile(m, bodies); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// service returns a service as it would be; never nil for one that is in force and
// not removed.
func (n *Candidate) service(name string) *epoch.Service {
	for _, s := range n.services {
		if s.Name == name {
			return s
		}
	}
	return &epoch.Service{Name: name}
}

// maxStranded is how many stranded tokens are listed.
const maxStranded = 500

// Stranded lists the tokens of an open rollout's candidate that the stable release
// would not go on with, judged as the authority judges them when it mints.
func (c *Control) Stranded(ctx context.Context, id string) (*api.Stranded, error) {
	r, _, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	entry := c.cfg.State.Current().Table.Service(r.Service)
	if !r.State.Open() || entry == nil || entry.Split.Rollout != r.ID {
		return nil, fmt.Errorf("%w: rollout %s is %s: its receipt says what became of the candidate's tokens", rollout.ErrIllegal, r.ID, r.State)
	}
	out := &api.Stranded{Rollout: r.ID, Stable: entry.Stable.ID, Candidate: entry.Candidate.ID, Classes: map[string]int64{}, Tokens: []api.StrandedToken{}}
	err = c.eachToken(ctx, ledger.TokenFilter{Selector: mintmark.Selector{Release: entry.Candidate.ID}, States: liveStates, Now: c.cfg.Now()}, maxClassified, func(t *ledger.TokenRow) {
		out.Judged++
		s := rollout.ShadowOf(entry, &t.Token)
		if s.Class == "" {
			return
		}
		out.Classes[s.Class]++
		if len(out.Tokens) >= maxStranded {
			return
		}
		shown := api.StrandedToken{
			ID: t.ID, Class: s.Class, Stranded: s.Stranded, Tainted: s.Tainted, Kind: t.Kind, State: t.State, Client: t.Client, Owner: t.Owner,
			Scopes: t.Scopes, Audience: t.Audience, Issued: time.Unix(t.IssuedAt, 0).UTC(),
		}
		if t.Expires != 0 {
			end := time.Unix(t.Expires, 0).UTC()
			shown.Expires = &end
		}
		out.Tokens = append(out.Tokens, shown)
	})
	out.More = out.Judged >= maxClassified
	return out, err
}
