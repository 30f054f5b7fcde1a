package sqlite

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Tokens returns a page of tokens in order of expiry (soonest first, never last).
func (s *Store) Tokens(ctx context.Context, f ledger.TokenFilter) ([]ledger.TokenRow, error) {
	var kinds, states int64
	for _, k := range f.Kinds {
		kinds |= 1 << k
	}
	live := len(f.States) > 0
	for _, st := range f.States {
		states |= 1 << st
		live = live && st.Live()
	}
	after := int64(-1)
	if live {
		after = f.Now.Unix()
	}
	args := append(selectorArgs(f.Selector, f.Cutoff, after), string(f.After), kinds, states, f.Now.Unix(), bound(f.Limit))
	return many(ctx, s, "tokens_by_"+lead(f.Selector), scanToken, args...)
}

// CountLive returns how many tokens that are live at now (issued or active by
// their own state, not over) the selector and cutoff cover. Revocations by rule
// are not looked at.
func (s *Store) CountLive(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) (int64, error) {
	return one(ctx, s, "count_by_"+lead(sel), func(r scanner) (n int64, err error) { return n, r.Scan(&n) },
		selectorArgs(sel, cut, now.Unix())...)
}

// Reach divides what CountLive counts by release and client, in no particular
// order, and says when the last of them is over.
func (s *Store) Reach(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) ([]ledger.Reached, error) {
	return many(ctx, s, "reach_by_"+lead(sel), func(r scanner) (c ledger.Reached, err error) {
		err = r.Scan(&c.Release, &c.Client, &c.Tokens, &c.Last)
		if c.Last == never {
			c.Last = 0
		}
		return c, err
	}, selectorArgs(sel, cut, now.Unix())...)
}

// Listed returns our JWTs of a release whose expiry is from ≤ exp < to (Unix
// seconds), whatever their state, in order of expiry after one: all that may have
// a place in its status lists. Who pages on passes the last token's expiry as from.
func (s *Store) Listed(ctx context.Context, release mintmark.ReleaseID, from, to int64, after mintmark.TokenID, limit int) ([]ledger.TokenRow, error) {
	return many(ctx, s, qListed, scanToken, string(release), from, to, string(after), bound(limit))
}

// LiveBy counts live tokens by release, key, client, issuer or kind; "" counts
// those without one. It reads every live token.
func (s *Store) LiveBy(ctx context.Context, dimension string, now time.Time) (map[string]int64, error) {
	if _, ok := liveColumns[dimension]; !ok {
		return nil, fmt.Errorf("sqlite: no count by %q: want release, key, client, issuer or kind", dimension)
	}
	type count struct {
		value string
		n     int64
	}
	rows, err := many(ctx, s, "live_by_"+dimension, func(r scanner) (c count, err error) { return c, r.Scan(&c.value, &c.n) }, now.Unix())
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(rows))
	for _, c := range rows {
		out[c.value] = c.n
	}
	return out, nil
}

// TokenCount is a number of tokens of one release, client and issuer.
type TokenCount struct {
	Release mintmark.ReleaseID
	Client  mintmark.ClientID
	Issuer  string
	Tokens  int64
}

func scanTokenCount(r scanner) (c TokenCount, err error) {
	return c, r.Scan(&c.Release, &c.Client, &c.Issuer, &c.Tokens)
}

// LiveTokens counts live tokens by release, client and issuer. It reads every
// live token. Revocations by rule are not looked at.
func (s *Store) LiveTokens(ctx context.Context, now time.Time) ([]TokenCount, error) {
	return many(ctx, s, qLive, scanTokenCount, now.Unix())
}

// ExpiredBetween counts tokens that expired after from and not after to without
// having ended before, by release, client and issuer.
func (s *Store) ExpiredBetween(ctx context.Context, from, to time.Time) ([]TokenCount, error) {
	return many(ctx, s, qExpired, scanTokenCount, from.Unix(), to.Unix())
}

// lead names the selector's most specific dimension that has an index.
func lead(s mintmark.Selector) string {
	switch {
	case s.Token != "":
		return "token"
	case s.Family != "":
		return "family"
	case s.Grant != "":
		return "grant"
	case s.Subject != "":
		return "subject"
	case s.Key != "":
		return "key"
	case s.Client != "":
		return "client"
	case s.Release != "":
		return "release"
	}
	return "exp"
}

// SeqWindow turns a window of issue time into one of issuance sequence numbers,
// for the cutoff of a revocation of own tokens: the lowest number of a token of
// ours issued at or after from, the highest of one issued at or before to. Zero
// where there is none, or where the bound is the zero time.
func (s *Store) SeqWindow(ctx context.Context, from, to time.Time) (first, last uint64, err error) {
	scan := func(r scanner) (n uint64, err error) { return n, r.Scan(&n) }
	if !from.IsZero() {
		if first, err = one(ctx, s, qSeqFrom, scan, from.Unix()); err != nil {
			return 0, 0, err
		}
	}
	if !to.IsZero() {
		if last, err = one(ctx, s, qSeqTo, scan, to.Unix()); err != nil {
			return 0, 0, err
		}
	}
	return first, last, nil
}

// selectorArgs are the parameters 1 to 17 of selectorWhere.
func selectorArgs(s mintmark.Selector, c mintmark.Cutoff, after int64) []any {
	var from, to int64
	if !s.IssuedFrom.IsZero() {
		from = s.IssuedFrom.Unix()
	}
	if !s.IssuedTo.IsZero() {
		to = s.IssuedTo.Unix()
	}
	// SQL's integers are signed; no number of ours is that high.
	c.FromSeq, c.ToSeq = min(c.FromSeq, math.MaxInt64), min(c.ToSeq, math.MaxInt64)
	return []any{
		string(s.Token), string(s.Family), string(s.Grant), s.Subject, string(s.Client), s.Issuer, s.Key, string(s.Release),
		member(s.Scope), member(s.Audience), c.FromSeq, c.ToSeq, after, c.From, c.To, from, to,
	}
}

// Sets are stored as their members, each between unit separators, so that a
// member is found as a whole.
const separator = "\x1f"

func member(v string) string {
	if v == "" {
		return ""
	}
	return separator + v + separator
}

func set(values []string) string {
	if len(values) == 0 {
		return ""
	}
	b := []byte(separator)
	for _, v := range values {
		b = append(b, v...)
		b = append(b, separator...)
	}
	return string(b)
}
