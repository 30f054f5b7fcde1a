package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/rollout"
)

// tokenOf is a token as the API shows it, with what is in force about it.
func (c *Control) tokenOf(row *ledger.TokenRow) api.Token {
	t := api.Token{
		ID: row.ID, Kind: row.Kind, State: row.State, Issuer: row.Issuer, Subject: row.Subject, Client: row.Client, Grant: row.Grant,
		Family: row.Family, Scopes: row.Scopes, Audience: row.Audience, Mark: row.Mark, Binding: row.Binding, IssuedAt: row.IssuedAt,
		Expires: row.Expires, Parent: row.Parent, By: row.By, Name: row.Name, Owner: row.Owner, Reason: row.Reason, FirstSeen: row.FirstSeen,
		LastSeen: row.LastSeen, LastGateway: row.LastGateway, LastRoute: row.LastRoute, Uses: row.Uses, Refused: row.Refused,
	}
	now := c.cfg.Now()
	current := c.cfg.State.Current()
	if fact := current.Revoked.Find(&row.Token); fact != nil {
		id := fact.ID
		t.Revocation = &id
		if t.State.Live() || t.State == mintmark.StateSuspended {
			t.State = mintmark.StateRevoked
			if fact.Action == mintmark.ActionSuspend {
				t.State = mintmark.StateSuspended
			}
			if t.Reason == "" {
				t.Reason = fact.Reason
			}
		}
	}
	t.State = lifecycle.At(t.State, t.FirstSeen > 0, row.Expires, now)
	if t.State.Live() && row.Mark.Release != "" {
		if fate := current.Table.DisposeByArm(&row.Token, now.Unix()); fate.Disposition != mintmark.Keep {
			t.Disposition, t.Class = fate.Disposition.String(), fate.Class
		}
	}
	return t
}

// Tokens lists a page of tokens.
func (c *Control) Tokens(ctx context.Context, q api.TokenQuery) (*api.TokenPage, error) {
	f := ledger.TokenFilter{Now: c.cfg.Now(), After: q.After, Limit: q.Limit, States: liveStates}
	if f.Limit == 0 {
		f.Limit = 100
	}
	if f.Limit < 1 || f.Limit > 1000 {
		return nil, fmt.Errorf("%w: limit must be 1 to 1000", ErrInvalid)
	}
	if q.Selector != "" {
		var err error
		if f.Selector, err = mintmark.ParseSelector(q.Selector); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if len(q.States) > 0 {
		f.States = nil
	}
	for _, s := range q.States {
		if s == "all" {
			f.States = nil
			break
		}
		var state mintmark.TokenState
		if err := state.UnmarshalText([]byte(s)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		f.States = append(f.States, state)
	}
	for _, k := range q.Kinds {
		var kind mintmark.TokenKind
		if err := kind.UnmarshalText([]byte(k)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		f.Kinds = append(f.Kinds, kind)
	}
	rows, err := c.cfg.Tokens.Tokens(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	out := &api.TokenPage{Tokens: make([]api.Token, 0, len(rows))}
	for i := range rows {
		out.Tokens = append(out.Tokens, c.tokenOf(&rows[i]))
	}
	if len(rows) == f.Limit {
		out.Next = rows[len(rows)-1].ID
	}
	return out, nil
}

// Token returns one token.
func (c *Control) Token(ctx context.Context, id mintmark.TokenID) (*api.Token, error) {
	row, err := c.cfg.Tokens.TokenByID(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, fmt.Errorf("%w: there is no token %.80q", ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	t := c.tokenOf(&row)
	return &t, nil
}

// Trace returns a token's life.
func (c *Control) Trace(ctx context.Context, id mintmark.TokenID) (*api.Trace, error) {
	t, err := c.Token(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &api.Trace{Token: *t, Events: []mintmark.Event{}}
	if out.Events, err = c.cfg.Store.EventsOf(ctx, "token", string(id), 0, 1000); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	_, routes, err := c.cfg.Store.UsageOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	for _, u := range routes {
		out.Usage = append(out.Usage, api.UsageLine{Route: u.Route, Code: u.Code, Served: string(u.Served), Count: u.N, First: u.First, Last: u.Last})
	}
	if t.Family == "" {
		return out, nil
	}
	rows, err := c.cfg.Tokens.Tokens(ctx, ledger.TokenFilter{Selector: mintmark.Selector{Family: t.Family}, Now: c.cfg.Now(), Limit: 200})
	if err != nil {
		return nil, fmt.Errorf("read family: %w", err)
	}
	for i := range rows {
		if rows[i].ID != id {
			out.Family = append(out.Family, c.tokenOf(&rows[i]))
		}
	}
	return out, nil
}

// Rollout returns one rollout with what is live of its two releases.
func (c *Control) Rollout(ctx context.Context, id string) (*api.Rollout, error) {
	r, version, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	out := rolloutOf(r, version)
	now := c.cfg.Now()
	if name, until, frozen := frozenNow(&r, c.freezes(r.Service), now); frozen && r.State.Open() {
		out.Frozen = &api.Frozen{Window: name, Until: until}
	}
	if h := c.health(ctx, &r); h != nil {
		e := rollout.EvidenceOf(h)
		out.Evidence = &e
	}
	for _, name := range []string{r.Stable, r.Candidate} {
		release := mintmark.NewReleaseID(r.Service, name)
		n, err := c.cfg.Tokens.CountLive(ctx, mintmark.Selector{Release: release}, mintmark.Cutoff{}, now)
		if err != nil {
			return nil, fmt.Errorf("count tokens of %s: %w", release, err)
		}
		out.Live = append(out.Live, api.TokenCount{Release: release, Tokens: n})
	}
	out.Gateways = c.cfg.State.Gateways()
	return &out, nil
}

// Rollouts lists rollouts, newest first.
func (c *Control) Rollouts(ctx context.Context) (*api.Rollouts, error) {
	out := &api.Rollouts{Rollouts: []api.Rollout{}}
	err := documents(ctx, c.cfg.Store, ledger.DocRollout, func(d ledger.Document, r rollout.Rollout) error {
		out.Rollouts = append(out.Rollouts, rolloutOf(r, d.Version))
		return nil
	})
	slices.Reverse(out.Rollouts)
	return out, err
}

func rolloutOf(r rollout.Rollout, version uint64) api.Rollout {
	out := api.Rollout{
		ID: r.ID, Service: r.Service, Stable: r.Stable, Candidate: r.Candidate, Strategy: r.Strategy, State: string(r.State),
		Percent: rollout.FormatPercent(r.Weight), Epoch: r.Epoch, Staged: r.Staged && r.State.Open(), Started: time.UnixMilli(r.Started).UTC(),
		Updated: time.UnixMilli(r.Updated).UTC(), Actor: r.Actor, Reason: r.Reason, Receipt: r.Receipt, Version: version,
	}
	for _, h := range r.History {
		out.History = append(out.History, api.RolloutStep{
			At: time.UnixMilli(h.At).UTC(), Verb: string(h.Verb), Percent: rollout.FormatPercent(h.Weight), Actor: h.Actor, Reason: h.Reason,
			Epoch: h.Epoch, Seq: h.Seq, Receipt: h.Receipt, Evidence: h.Evidence,
		})
	}
	staged(&out, &r)
	return out
}

// Releases lists the releases of a service, or of all.
func (c *Control) Releases(ctx context.Context, service string) (*api.Releases, error) {
	live, err := c.cfg.Tokens.LiveBy(ctx, "release", c.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("count tokens: %w", err)
	}
	out := &api.Releases{Releases: []api.Release{}}
	known := service == ""
	for _, e := range c.cfg.State.Current().Table.Services() {
		if service != "" && e.Name != service {
			continue
		}
		known = true
		for _, r := range e.Releases {
			id := mintmark.NewReleaseID(e.Name, r.Name)
			rel := api.Release{
				ID: id, Role: "idle", Policy: r.Mint.Policy, PolicyVersion: r.Mint.Version, Percent: "0", Format: r.Mint.Format,
				Scopes: r.Mint.Scopes, ForcedScopes: r.Mint.ForcedScopes, Audience: r.Mint.Audience, Accept: r.Accept, Tokens: live[string(id)],
			}
			for _, old := range e.Retired {
				if old.Release == r.Name {
					rel.Role = "retired"
				}
			}
			switch r.Name {
			case e.Split.Stable:
				rel.Role, rel.Percent = "stable", rollout.FormatPercent(rollout.Full-e.Split.Weight)
			case e.Split.Candidate:
				rel.Role, rel.Percent = "candidate", rollout.FormatPercent(e.Split.Weight)
			}
			for _, u := range r.Upstreams {
				rel.Upstreams = append(rel.Upstreams, u.URL)
			}
			out.Releases = append(out.Releases, rel)
		}
	}
	if !known {
		return nil, fmt.Errorf("%w: there is no service %.70q", ErrNotFound, service)
	}
	return out, nil
}

// Release returns one release.
func (c *Control) Release(ctx context.Context, id mintmark.ReleaseID) (*api.Release, error) {
	all, err := c.Releases(ctx, id.Service())
	if err != nil {
		return nil, err
	}
	for _, r := range all.Releases {
		if r.ID == id {
			return &r, nil
		}
	}
	return nil, fmt.Errorf("%w: there is no release %.140q", ErrNotFound, id)
}

// Receipts lists receipts, newest first.
func (c *Control) Receipts(ctx context.Context) (*api.Receipts, error) {
	out := &api.Receipts{Receipts: []mintmark.Receipt{}}
	err := documents(ctx, c.cfg.Store, ledger.DocReceipt, func(_ ledger.Document, r mintmark.Receipt) error {
		out.Receipts = append(out.Receipts, r)
		return nil
	})
	slices.Reverse(out.Receipts)
	return out, err
}

// Receipt returns one receipt.
func (c *Control) Receipt(ctx context.Context, id mintmark.ReceiptID) (*mintmark.Receipt, error) {
	var r mintmark.Receipt
	_, ok, err := c.document(ctx, ledger.DocReceipt, string(id), &r)
	if err == nil && !ok {
		err = fmt.Errorf("%w: there is no receipt %.80q", ErrNotFound, id)
	}
	return &r, err
}

// clientDoc is what the API shows of the authority's client document.
type clientDoc struct {
	ID           mintmark.ClientID `json:"id"`
	Name         string            `json:"name"`
	Auth         string            `json:"auth_method"`
	Secrets      []json.RawMessage `json:"secrets"`
	Grants       []string          `json:"grant_types"`
	RedirectURIs []string          `json:"redirect_uris"`
	Scopes       []string          `json:"scopes"`
	Audiences    []string          `json:"audiences"`
	Disabled     bool              `json:"disabled"`
	Declared     bool              `json:"declared"`
}

// Clients lists the OAuth clients by id.
func (c *Control) Clients(ctx context.Context) (*api.Clients, error) {
	out := &api.Clients{Clients: []api.OAuthClient{}}
	err := documents(ctx, c.cfg.Store, ledger.DocClient, func(d ledger.Document, v clientDoc) error {
		cl := api.OAuthClient{
			ID: mintmark.ClientID(d.ID), Name: v.Name, Auth: v.Auth, Grants: v.Grants, RedirectURIs: v.RedirectURIs, Scopes: v.Scopes,
			Audience: v.Audiences, Disabled: v.Disabled, Declared: v.Declared, Version: d.Version,
		}
		if cl.Auth == "" && len(v.Secrets) > 0 {
			cl.Auth = "client_secret_basic"
		}
		out.Clients = append(out.Clients, cl)
		return nil
	})
	return out, err
}

// Users lists the local users by name.
func (c *Control) Users(ctx context.Context) (*api.Users, error) {
	out := &api.Users{Users: []api.User{}}
	err := documents(ctx, c.cfg.Store, ledger.DocUser, func(d ledger.Document, v struct {
		Disabled bool                       `json:"disabled"`
		Claims   map[string]json.RawMessage `json:"claims"`
	},
	) error {
		u := api.User{Name: d.ID, Disabled: v.Disabled}
		_ = json.Unmarshal(v.Claims["email"], &u.Email) // absent or not text: shown as none
		_ = json.Unmarshal(v.Claims[claimRoles], &u.Roles)
		out.Users = append(out.Users, u)
		return nil
	})
	return out, err
}

// Declared reports whether a resource of that kind and name was applied.
func (c *Control) Declared(ctx context.Context, kind, name string) (bool, error) {
	_, ok, err := c.document(ctx, ledger.DocResource, kind+"/"+name, &json.RawMessage{})
	return ok, err
}

// Status returns control's state at a glance.
func (c *Control) Status(ctx context.Context, version string) (*api.Status, error) {
	s := c.cfg.State.Current()
	out := &api.Status{Version: version, Issuer: s.Table.Authority(), Term: s.Term, Epoch: s.Epoch, Seq: s.Seq, Revoked: s.Revoked.Len(), Now: c.cfg.Now().UTC(), StateKeys: c.cfg.StateKeys}
	if settled := c.cfg.State.Settled(); settled != nil {
		out.Settled = settled.Epoch
	}
	for _, g := range c.cfg.State.Gateways() {
		out.Gateways++
		if strings.EqualFold(g.State, "live") {
			out.Live++
		}
	}
	live, err := c.cfg.Tokens.LiveBy(ctx, "kind", c.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("count tokens: %w", err)
	}
	for _, n := range live {
		out.Tokens += n
	}
	var aside struct {
		Records uint64 `json:"records"`
	}
	d, err := c.cfg.Store.Document(ctx, ledger.DocSetting, "set-aside") // the recorder's
	if err == nil {
		err = json.Unmarshal(d.Body, &aside)
	}
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return nil, fmt.Errorf("read how many records were set aside: %w", err)
	}
	out.SetAside = aside.Records
	all, err := c.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range all.Rollouts {
		if rollout.State(r.State).Open() {
			out.Rollouts = append(out.Rollouts, r)
		}
	}
	return out, nil
}

// Gateways lists the members.
func (c *Control) Gateways() *api.Gateways {
	s := c.cfg.State.Current()
	return &api.Gateways{Gateways: c.cfg.State.Gateways(), Head: s.Seq, Epoch: s.Epoch}
}
