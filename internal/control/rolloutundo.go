package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/rollout"
)

func invalid(text string) error { return fmt.Errorf("%w: %s", ErrInvalid, text) }

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// undoSample is how many of the prior release's live tokens are looked at for keys
// that are gone.
const undoSample = 1000

// undoable reports why a finalised rollout can't be undone: going back must leave
// the clients of the prior release with tokens, keys and a policy that are good.
func (c *Control) undoable(ctx context.Context, svc *epoch.Service, r *rollout.Rollout) error {
	if err := rollout.Undoable(svc, r); err != nil {
		return err
	}
	release := mintmark.NewReleaseID(r.Service, r.Stable)
	snap := c.cfg.State.Current()
	if fact := snap.Revoked.Find(&mintmark.Token{Mark: mintmark.Mark{Release: release, Seq: 1}, Kind: mintmark.KindAccessJWT}); fact != nil && fact.Selector.Release == release {
		return fmt.Errorf("%w: the tokens of %s were revoked (%s): start a rollout to it instead", rollout.ErrIllegal, release, fact.ID)
	}
	rows, err := c.cfg.Tokens.Tokens(ctx, ledger.TokenFilter{Selector: mintmark.Selector{Release: release}, States: liveStates, Now: c.cfg.Now(), Limit: undoSample})
	if err != nil {
		return fmt.Errorf("read tokens of %s: %w", release, err)
	}
	for i := range rows {
		if kid := rows[i].Mark.Key; kid != "" && snap.Table.OwnKey(kid) == nil {
			return fmt.Errorf("%w: key %s, which signed live tokens of %s, is no longer published", rollout.ErrIllegal, kid, release)
		}
	}
	return nil
}

// stale reports what moved between a plan and now, in a way that matters to it.
func stale(then, now *api.Plan) error {
	if then == nil || then.Digest == now.Digest {
		return nil
	}
	if then.Service != now.Service || then.Candidate != now.Candidate {
		return fmt.Errorf("%w: the plan is about %s/%s, not %s/%s", ErrInvalid, then.Service, then.Candidate, now.Service, now.Candidate)
	}
	if then.Digest == "" {
		return fmt.Errorf("%w: the plan has no digest: make it with this version's rollout plan -o json", ErrInvalid)
	}
	var moved []string
	for _, name := range sortedNames(then.Basis, now.Basis) {
		if a, b := then.Basis[name], now.Basis[name]; a != b {
			moved = append(moved, fmt.Sprintf("%s was %s and is %s", name, shown(a), shown(b)))
		}
	}
	if len(moved) == 0 {
		moved = []string{"the plan was altered"}
	}
	return fmt.Errorf("%w: the plan is stale: %s; plan again", ErrConflict, joined(moved))
}
