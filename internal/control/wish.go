package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/revocation"
)

// wish is a revocation that somebody asks for, and what it would reach.
type wish struct {
	fact mintmark.Revocation // without an id
	// last is how long: until a suspension ends, or a fact is forgotten; 0 is
	// unsaid.
	last time.Duration

	// Set by weigh.
	reach  []ledger.Reached
	tokens int64 // live, of reach
}

// longest is the longest that For may say.
const longest = 10 * 366 * 24 * time.Hour

// wish reads a request.
func (c *Control) wish(actor string, r api.RevokeRequest) (wish, error) {
	var w wish
	sel, err := mintmark.ParseSelector(r.Selector)
	if err != nil {
		return w, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	w.fact = mintmark.Revocation{Action: mintmark.ActionRevoke, Selector: sel, Reason: r.Reason, Actor: actor}
	if r.Action != "" {
		if err := w.fact.Action.UnmarshalText([]byte(r.Action)); err != nil {
			return w, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if err := c.checkTimeout(r.Timeout); err != nil {
		return w, err
	}
	switch {
	case r.Reason == "" && !r.DryRun:
		return w, fmt.Errorf("%w: a reason is wanted: it goes into the receipt", ErrInvalid)
	case r.AtMost < 0:
		return w, fmt.Errorf("%w: at_most must not be negative", ErrInvalid)
	}
	if r.For != "" {
		if w.last, err = time.ParseDuration(r.For); err != nil || w.last < time.Second || w.last > longest {
			return w, fmt.Errorf("%w: for %.40q: want a duration from 1s to ten years, such as 72h", ErrInvalid, r.For)
		}
	}
	return w, nil
}

// weigh finds out what a wish reaches and until when its fact is needed.
func (c *Control) weigh(ctx context.Context, w *wish) error {
	var err error
	if w.fact.Cutoff, err = c.resolve(ctx, w.fact.Selector); err != nil {
		return err
	}
	now := c.cfg.Now()
	if w.reach, err = c.cfg.Reach.Reach(ctx, w.fact.Selector, w.fact.Cutoff, now); err != nil {
		return fmt.Errorf("count tokens: %w", err)
	}
	w.tokens = 0
	for _, r := range w.reach {
		w.tokens += r.Tokens
	}
	if w.fact.Action == mintmark.ActionSuspend {
		if w.last > 0 {
			w.fact.Until = now.Add(w.last).Unix()
		}
		return nil
	}
	return c.forget(ctx, w, now)
}

// forgetSlack is how much longer than its last token a fact is kept: the greatest
// skew that gateways allow for, and an hour for whoever is slower than that.
const forgetSlack = int64(300 + 3600)

// forget says when a revocation's fact may be dropped. By itself only where it is
// certain that nothing covered can be live then: for a token, family or grant of
// ours. Elsewhere the operator may say; a covered token that would outlive the
// fact refuses it, for it would come back to life.
func (c *Control) forget(ctx context.Context, w *wish, now time.Time) error {
	s := &w.fact.Selector
	last, never, err := c.lastOf(ctx, w, now)
	if err != nil {
		return err
	}
	own := s.Token != "" || s.Family != "" || s.Grant != ""
	switch {
	case w.last == 0 && (!own || never):
		return nil // kept for ever
	case w.last == 0:
		w.fact.Forget = last + forgetSlack
		return nil
	case s.Key != "" || s.Issuer != "" && s.Issuer != c.cfg.State.Current().Table.Authority():
		return fmt.Errorf("%w: for: whoever holds a key, or is another issuer, chooses how long its tokens live, so that this revocation can't be forgotten", ErrInvalid)
	case never:
		return fmt.Errorf("%w: for: it covers a token that never expires, which would be live again", ErrInvalid)
	case now.Add(w.last).Unix() < last+forgetSlack:
		return fmt.Errorf("%w: for: covered tokens may live until %s, and would be live again; say at least %s, or leave it out",
			ErrInvalid, time.Unix(last, 0).UTC().Format(time.RFC3339), (time.Duration(last+forgetSlack-now.Unix()) * time.Second).String())
	}
	w.fact.Forget = now.Add(w.last).Unix()
	return nil
}

// lastOf is the Unix second at which the last token that a wish covers is over,
// also of those that are minted until it is committed; never says that one is not.
func (c *Control) lastOf(ctx context.Context, w *wish, now time.Time) (last int64, never bool, err error) {
	s := &w.fact.Selector
	for _, r := range w.reach {
		never = never || r.Last == 0
		last = max(last, r.Last)
	}
	if s.Token != "" {
		row, err := c.cfg.Tokens.TokenByID(ctx, s.Token)
		if errors.Is(err, ledger.ErrNotFound) {
			return 0, true, nil // who knows
		}
		if err != nil {
			return 0, false, fmt.Errorf("read token: %w", err)
		}
		// Another issuer may give one identity to a later token.
		last, never = max(last, row.Expires), row.Expires == 0 || !row.Own()
	}
	// What is minted until the commit, or was exchanged from a token and outlives it.
	return max(last, now.Unix()+c.longestLife()), never, nil
}

// longestLife is the longest that a token may live which is minted now, in
// seconds.
func (c *Control) longestLife() int64 {
	most := int64(24 * 3600) // of the built-in policies, with room
	for _, e := range c.cfg.State.Current().Table.Services() {
		for _, r := range e.Releases {
			most = max(most, r.Mint.AccessSeconds, r.Mint.RefreshSeconds)
		}
	}
	return most
}

// outlook is what can be said of a wish before it is carried out.
func (c *Control) outlook(w *wish) *api.RevokeAnswer {
	out := &api.RevokeAnswer{Selector: w.fact.Selector.String(), Tokens: w.tokens, Gateways: len(c.cfg.State.Gateways())}
	if w.fact.Selector.Broad() {
		out.Confirm = out.Selector
	}
	if w.fact.Forget != 0 {
		out.Forgotten = time.Unix(w.fact.Forget, 0).UTC()
	}
	if w.fact.Until != 0 {
		out.Ends = time.Unix(w.fact.Until, 0).UTC()
	}
	return out
}

// preview adds what a dry run shows: some of the tokens, how they divide, and who
// would be told.
func (c *Control) preview(ctx context.Context, w *wish, out *api.RevokeAnswer) error {
	out.ByRelease, out.ByClient = divide(w.reach)
	for _, g := range c.cfg.State.Gateways() {
		out.Reached = append(out.Reached, g.ID)
	}
	rows, err := c.cfg.Tokens.Tokens(ctx, ledger.TokenFilter{
		Selector: w.fact.Selector, Cutoff: w.fact.Cutoff, States: liveStates, Now: c.cfg.Now(), Limit: 10,
	})
	if err != nil {
		return fmt.Errorf("read a sample: %w", err)
	}
	for i := range rows {
		out.Sample = append(out.Sample, c.tokenOf(&rows[i]))
	}
	return nil
}

// divide sums counts by release and by client, greatest first.
func divide(reach []ledger.Reached) (byRelease, byClient []api.ReachedCount) {
	releases, clients := map[mintmark.ReleaseID]int64{}, map[mintmark.ClientID]int64{}
	for _, r := range reach {
		if r.Tokens > 0 {
			releases[r.Release] += r.Tokens
			clients[r.Client] += r.Tokens
		}
	}
	for id, n := range releases {
		byRelease = append(byRelease, api.ReachedCount{Release: id, Tokens: n})
	}
	for id, n := range clients {
		byClient = append(byClient, api.ReachedCount{Client: id, Tokens: n})
	}
	order := func(a, b api.ReachedCount) int {
		return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Release, b.Release), cmp.Compare(a.Client, b.Client))
	}
	slices.SortFunc(byRelease, order)
	slices.SortFunc(byClient, order)
	return byRelease, byClient
}

// change is the wish as a change of the state log.
func (w *wish) change() Change {
	return Change{
		Kind: w.fact.Action.String(), Revocations: []mintmark.Revocation{w.fact}, Actor: w.fact.Actor, Reason: w.fact.Reason,
		Tokens: w.tokens, Release: w.fact.Selector.Release,
	}
}

// resolve turns a person's window of time into a cutoff. Without a window the
// fleet bounds the fact by the row's own issuance number where that is right.
func (c *Control) resolve(ctx context.Context, sel mintmark.Selector) (mintmark.Cutoff, error) {
	if sel.IssuedFrom.IsZero() && sel.IssuedTo.IsZero() {
		return mintmark.Cutoff{}, nil
	}
	first, last, err := c.cfg.Tokens.SeqWindow(ctx, sel.IssuedFrom, sel.IssuedTo)
	if err != nil {
		return mintmark.Cutoff{}, fmt.Errorf("resolve the window: %w", err)
	}
	if !sel.IssuedFrom.IsZero() && first == 0 {
		// Nothing of ours was issued in the window so far; 0 would mean unbounded.
		_, newest, err := c.cfg.Tokens.SeqWindow(ctx, time.Time{}, c.cfg.Now())
		if err != nil {
			return mintmark.Cutoff{}, fmt.Errorf("resolve the window: %w", err)
		}
		first = newest + 1
	}
	return revocation.Resolve(sel, first, last), nil
}
