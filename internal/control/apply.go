package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

// resources reads the set that is in force.
func (c *Control) resources(ctx context.Context) (policy.Set, error) {
	var list []*policy.Resource
	err := documents(ctx, c.cfg.Store, ledger.DocResource, func(d ledger.Document, body json.RawMessage) error {
		var head policy.Header
		if err := json.Unmarshal(body, &head); err != nil {
			return fmt.Errorf("read resource %s: %w", d.ID, err)
		}
		r, err := policy.FromJSON(head.Kind, body)
		list = append(list, r)
		return err
	})
	if err != nil {
		return policy.Set{}, err
	}
	return policy.NewSet(list), nil
}

// Apply makes the resources of files what is in force: all of it or nothing.
// policy.Errors say what is wrong with them.
func (c *Control) Apply(ctx context.Context, actor string, r api.ApplyRequest) (*api.ApplyAnswer, error) {
	if err := c.checkTimeout(r.Timeout); err != nil {
		return nil, err
	}
	files := make([]policy.File, len(r.Files))
	for i, f := range r.Files {
		files[i] = policy.File{Name: f.Name, Text: f.Text}
	}
	declared, errs := policy.Parse(files)
	if len(errs) > 0 {
		return nil, errs
	}
	if len(declared.Resources) == 0 {
		return nil, fmt.Errorf("%w: the files declare nothing", ErrInvalid)
	}
	if done := earlier(ctx); done != "" {
		return c.reapplied(ctx, done, r)
	}
	// The serial document is read first: whatever changes after this makes the
	// commit fail.
	state, version, err := c.serial(ctx)
	if err != nil {
		return nil, err
	}
	old, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	a := &application{c: c, actor: actor, old: old, now: old.Merge(declared, r.Prune), state: state, version: version, try: r.DryRun}
	if err := a.decide(ctx); err != nil {
		return nil, err
	}
	out := &api.ApplyAnswer{DryRun: r.DryRun, Changes: a.shown, Warnings: a.warnings, Epoch: c.cfg.State.Current().Epoch}
	if deleted := a.deleted(); len(deleted) > 0 && !r.DryRun && r.Confirm != "prune" {
		return nil, &ConfirmError{Text: "prune"}
	}
	if r.DryRun || len(a.changes) == 0 {
		return out, nil
	}
	done, err := a.commit(ctx, r.Reason)
	if err != nil {
		return nil, err
	}
	out.Secrets = a.secrets
	out.Epoch = c.cfg.State.Current().Epoch
	c.follow(ctx)
	out.Receipt, err = c.receipt(ctx, done.Receipt, r.Wait, r.Timeout)
	return out, err
}

// reapplied answers from the receipt of an apply that is durable. Secrets that it
// made were to be shown once: they are replaced, not shown again.
func (c *Control) reapplied(ctx context.Context, id mintmark.ReceiptID, r api.ApplyRequest) (*api.ApplyAnswer, error) {
	c.follow(ctx)
	receipt, err := c.receipt(ctx, id, r.Wait, r.Timeout)
	return &api.ApplyAnswer{Epoch: c.cfg.State.Current().Epoch, Receipt: receipt}, err
}

// follow does what depends on the resources in force.
func (c *Control) follow(ctx context.Context) {
	c.restage(ctx)
	c.readFreezes(ctx)
	if c.applied != nil {
		c.applied(ctx)
	}
}

// application is one apply under way.
type application struct {
	c        *Control
	actor    string
	old, now policy.Set
	state    serial
	version  uint64
	try      bool

	changes  []policy.Change
	shown    []api.Change
	warnings []string
	parts    map[epoch.PartName][]byte
	batch    ledger.Batch
	facts    []mintmark.Revocation
	secrets  map[string]string
}

func (a *application) decide(ctx context.Context) error {
	if errs := policy.Check(a.now); len(errs) > 0 {
		return errs
	}
	var err error
	if a.changes, err = policy.Diff(a.old, a.now); err != nil {
		return err
	}
	for _, ch := range a.changes {
		shown := api.Change{Kind: ch.Kind, Name: ch.Name, Verb: ch.Verb}
		for _, f := range ch.Fields {
			shown.Fields = append(shown.Fields, api.FieldChange{Path: f.Path, Old: f.Old, New: f.New})
		}
		a.shown = append(a.shown, shown)
		if ch.Kind == policy.KindGuard && !a.try && ctx.Value(limitedKey{}) != nil {
			return fmt.Errorf("%w: %s %s guards against those whom it binds, so that only the role admin may change it", ErrForbidden, ch.Kind, ch.Name)
		}
	}
	a.state.Policies = policy.Versions(a.old, a.state.Policies, a.now)
	compiled, err := policy.Compile(a.now, a.state.Policies)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := a.decideParts(compiled); err != nil {
		return err
	}
	return a.decideDocuments(ctx, compiled)
}

// decideParts lists the parts that differ from those in force.
func (a *application) decideParts(compiled policy.Compiled) error {
	current := a.c.cfg.State.Current()
	a.parts = map[epoch.PartName][]byte{}
	put := func(name epoch.PartName, part any) error {
		body, hash, err := epoch.Encode(part)
		if err != nil {
			return fmt.Errorf("encode part %s: %w", name, err)
		}
		if have, ok := current.Manifest.Find(name); !ok || have != hash {
			a.parts[name] = body
		}
		return nil
	}
	names := map[string]bool{}
	for _, svc := range compiled.Services {
		names[svc.Name] = true
		var inForce *epoch.Service
		if e := current.Table.Service(svc.Name); e != nil {
			inForce = e.Service
		}
		wish := svc.Split.Stable
		svc, err := rollout.Rebase(svc, inForce)
		if err != nil {
			return err
		}
		if wish != "" && svc.Split.Stable != wish {
			a.warnings = append(a.warnings, fmt.Sprintf("service %s: release %s stays stable; its release field counts at the first apply only, a rollout changes it", svc.Name, svc.Split.Stable))
		}
		if err := put(epoch.ServicePartName(svc.Name), &svc); err != nil {
			return err
		}
	}
	for _, e := range current.Table.Services() {
		if names[e.Name] {
			continue
		}
		if e.Split.Rollout != "" {
			return fmt.Errorf("%w: service %s is in rollout %s and can't be removed", rollout.ErrIllegal, e.Name, e.Split.Rollout)
		}
		a.parts[epoch.ServicePartName(e.Name)] = nil
		a.warnings = append(a.warnings, fmt.Sprintf("service %s is removed: its routes answer 404", e.Name))
	}
	// Keys that were fetched stay until they are fetched again.
	for i, issuer := range compiled.Issuers.Issuers {
		if e := current.Table.Issuer(issuer.Issuer); e != nil && issuer.MaxAge != 0 && e.MaxAge != 0 {
			compiled.Issuers.Issuers[i].Keys, compiled.Issuers.Issuers[i].Fetched = e.Keys, e.Fetched
		}
	}
	if _, had := current.Manifest.Find(epoch.PartIssuers); had || len(compiled.Issuers.Issuers) > 0 {
		return put(epoch.PartIssuers, &compiled.Issuers)
	}
	return nil
}

func (a *application) decideDocuments(ctx context.Context, compiled policy.Compiled) error {
	for _, ch := range a.changes {
		id := ch.Kind + "/" + ch.Name
		var body any
		if ch.Verb != "delete" {
			raw, err := a.now.Get(ch.Kind, ch.Name).JSON()
			if err != nil {
				return err
			}
			body = raw
		}
		e, err := put(ledger.DocResource, id, a.actor, body)
		if err != nil {
			return err
		}
		a.batch.Events = append(a.batch.Events, e)
		switch ch.Kind {
		case policy.KindClient:
			err = a.account(ctx, ledger.DocClient, ch, compiled.Clients[ch.Name], mintmark.Selector{Client: mintmark.ClientID(ch.Name)})
		case policy.KindUser:
			sel := mintmark.Selector{Subject: ch.Name}
			if r := a.old.Get(ch.Kind, ch.Name); r != nil && r.Spec.(*policy.User).Subject != "" {
				sel.Subject = r.Spec.(*policy.User).Subject
			}
			err = a.account(ctx, ledger.DocUser, ch, compiled.Users[ch.Name], sel)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// account merges the declared members into the authority's document; what is not
// declared (secrets, passwords) stays. Removing an account revokes its tokens.
func (a *application) account(ctx context.Context, kind string, ch policy.Change, declared json.RawMessage, sel mintmark.Selector) error {
	doc := map[string]json.RawMessage{}
	version, exists, err := a.c.document(ctx, kind, ch.Name, &doc)
	if err != nil {
		return err
	}
	a.batch.Expect = append(a.batch.Expect, ledger.Expect{Stream: kind + "/" + ch.Name, Version: version})
	old := maps.Clone(doc)
	if ch.Verb == "delete" {
		if err := a.mayChange(ctx, kind, ch.Name, old, nil); err != nil {
			return err
		}
		a.facts = append(a.facts, mintmark.Revocation{Action: mintmark.ActionRevoke, Selector: sel, Reason: kind + " removed", Actor: a.actor})
		e, err := put(kind, ch.Name, a.actor, nil)
		if exists {
			a.batch.Events = append(a.batch.Events, e)
		}
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(declared, &members); err != nil {
		return fmt.Errorf("merge %s %s: %w", kind, ch.Name, err)
	}
	for name, v := range members {
		if bytes.Equal(v, []byte("null")) {
			delete(doc, name)
			continue
		}
		doc[name] = v
	}
	if err := a.mayChange(ctx, kind, ch.Name, old, doc); err != nil {
		return err
	}
	if kind == ledger.DocClient && doc["secrets"] == nil && slices.Contains([]string{`"client_secret_basic"`, `"client_secret_post"`}, string(doc["auth_method"])) {
		value, stored, err := a.c.cfg.Secrets.NewClientSecret()
		if err != nil {
			return fmt.Errorf("make a secret for client %s: %w", ch.Name, err)
		}
		if a.secrets == nil {
			a.secrets = map[string]string{}
		}
		a.secrets[ch.Name] = value
		doc["secrets"] = slices.Concat([]byte("["), stored, []byte("]"))
	}
	if kind == ledger.DocUser {
		if err := a.subject(ctx, ch.Name, doc["sub"]); err != nil {
			return err
		}
	}
	e, err := put(kind, ch.Name, a.actor, doc)
	a.batch.Events = append(a.batch.Events, e)
	return err
}

// subject refuses a user the subject of an account that was not declared: who
// signs in to the one would be taken for the other.
func (a *application) subject(ctx context.Context, name string, raw json.RawMessage) error {
	var sub string
	if raw != nil {
		if err := json.Unmarshal(raw, &sub); err != nil {
			return fmt.Errorf("user %s: sub: %w", name, err)
		}
	}
	if sub == "" || sub == name {
		return nil
	}
	_, taken, err := a.c.document(ctx, ledger.DocUser, sub, &map[string]json.RawMessage{})
	if err == nil && taken {
		err = fmt.Errorf("%w: user %s: subject %.80q is another account's", ErrInvalid, name, sub)
	}
	return err
}

// mayChange is for what is done, not for what is only tried.
func (a *application) mayChange(ctx context.Context, kind, id string, old, next map[string]json.RawMessage) error {
	if a.try {
		return nil
	}
	return mayChange(ctx, kind, id, old, next)
}

func (a *application) deleted() (ids []string) {
	for _, ch := range a.changes {
		if ch.Verb == "delete" {
			ids = append(ids, ch.Kind+"/"+ch.Name)
		}
	}
	return ids
}

// commit writes one row when gateways are concerned, and the documents alone when
// not.
func (a *application) commit(ctx context.Context, reason string) (Committed, error) {
	if err := a.state.with(&a.batch, a.version, a.actor); err != nil {
		return Committed{}, err
	}
	ctx = shows(ctx, rotateSecrets(slices.Sorted(maps.Keys(a.secrets))))
	if len(a.parts) == 0 && len(a.facts) == 0 {
		_, err := a.c.cfg.Ledger.Append(ctx, a.batch.With(ctx))
		return Committed{}, conflict(err)
	}
	done, err := a.c.write(ctx, Change{
		Kind: "apply", Parts: a.parts, Revocations: a.facts, Also: a.batch, Actor: a.actor, Reason: reason,
	})
	return done, conflict(err)
}

// Export returns the resources in force as YAML.
func (c *Control) Export(ctx context.Context) (*api.Export, error) {
	set, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	text, err := policy.Export(set)
	return &api.Export{YAML: text, Epoch: c.cfg.State.Current().Epoch}, err
}
