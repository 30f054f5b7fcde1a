// Package lifecycle answers: given what happened to a token, where is it in its
// life, and may this happen to it now?
//
// One pure fold over one table of legal transitions, used when events are folded
// and again when the ledger is verified. Expiry is time passing, not an event: At
// applies it to a stored state.
package lifecycle

import (
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
)

// ErrTransition reports something that may not happen to a token in its state.
var ErrTransition = errors.New("lifecycle: not a legal transition")

// Seen stands for a gateway having met the token; it is not an event of the
// token's stream.
const Seen mintmark.EventType = "token.seen"

// transition is one row of the table: what may happen in which state, and who
// causes it. Suspension keeps no memory of issued or active: whether a token was
// ever seen is told by its first-seen time, so restoring goes to issued and At
// lifts it to active.
type transition struct {
	from mintmark.TokenState
	what mintmark.EventType
	to   mintmark.TokenState
}

var table = []transition{
	// The authority mints; a gateway meets a foreign token for the first time.
	{mintmark.StateUnknown, mintmark.EventTokenIssued, mintmark.StateIssued},
	{mintmark.StateUnknown, Seen, mintmark.StateActive},

	{mintmark.StateIssued, Seen, mintmark.StateActive},
	{mintmark.StateActive, Seen, mintmark.StateActive},
	// A gateway may report, late, uses from before the end.
	{mintmark.StateSuspended, Seen, mintmark.StateSuspended},
	{mintmark.StateRevoked, Seen, mintmark.StateRevoked},
	{mintmark.StateSuperseded, Seen, mintmark.StateSuperseded},
	{mintmark.StateExpired, Seen, mintmark.StateExpired},

	// An operator or a rule suspends and restores.
	{mintmark.StateIssued, mintmark.EventTokenSuspended, mintmark.StateSuspended},
	{mintmark.StateActive, mintmark.EventTokenSuspended, mintmark.StateSuspended},
	{mintmark.StateSuspended, mintmark.EventTokenSuspended, mintmark.StateSuspended},
	{mintmark.StateSuspended, mintmark.EventTokenRestored, mintmark.StateIssued},

	// Revoking is for good, and doing it twice is not an error: it must be safe to
	// repeat. An expired or superseded token may still be revoked: its holder may
	// not know that it is over.
	{mintmark.StateIssued, mintmark.EventTokenRevoked, mintmark.StateRevoked},
	{mintmark.StateActive, mintmark.EventTokenRevoked, mintmark.StateRevoked},
	{mintmark.StateSuspended, mintmark.EventTokenRevoked, mintmark.StateRevoked},
	{mintmark.StateRevoked, mintmark.EventTokenRevoked, mintmark.StateRevoked},
	{mintmark.StateExpired, mintmark.EventTokenRevoked, mintmark.StateExpired},
	{mintmark.StateSuperseded, mintmark.EventTokenRevoked, mintmark.StateSuperseded},

	// The authority replaces a refresh token, or an API key, by its successor.
	{mintmark.StateIssued, mintmark.EventTokenSuperseded, mintmark.StateSuperseded},
	{mintmark.StateActive, mintmark.EventTokenSuperseded, mintmark.StateSuperseded},
}

var index = func() map[transition]mintmark.TokenState {
	m := make(map[transition]mintmark.TokenState, len(table))
	for _, t := range table {
		m[transition{from: t.from, what: t.what}] = t.to
	}
	return m
}()

// Step returns the state after what happened to a token in state from, or
// ErrTransition.
func Step(from mintmark.TokenState, what mintmark.EventType) (mintmark.TokenState, error) {
	to, ok := index[transition{from: from, what: what}]
	if !ok {
		return from, fmt.Errorf("%w: %s while %s", ErrTransition, what, from)
	}
	return to, nil
}

// At returns the state at now of a token whose stored state is s: a token that
// may still be accepted is expired once past its expiry (Unix seconds, 0 never),
// and an issued one that was seen is active.
func At(s mintmark.TokenState, seen bool, expires int64, now time.Time) mintmark.TokenState {
	switch s {
	case mintmark.StateIssued, mintmark.StateActive, mintmark.StateSuspended:
		if expires != 0 && now.Unix() >= expires {
			return mintmark.StateExpired
		}
	}
	if s == mintmark.StateIssued && seen {
		return mintmark.StateActive
	}
	return s
}

// Final reports whether nothing more can happen to a token in state s.
func Final(s mintmark.TokenState) bool {
	return s == mintmark.StateRevoked || s == mintmark.StateSuperseded || s == mintmark.StateExpired
}
