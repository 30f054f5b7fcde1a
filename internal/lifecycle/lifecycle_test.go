package lifecycle

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

var (
	states = []mintmark.TokenState{
		mintmark.StateUnknown, mintmark.StateIssued, mintmark.StateActive, mintmark.StateSuspended,
		mintmark.StateExpired, mintmark.StateRevoked, mintmark.StateSuperseded,
	}
	happenings = []mintmark.EventType{
		mintmark.EventTokenIssued, Seen, mintmark.EventTokenSuspended, mintmark.EventTokenRestored,
		mintmark.EventTokenRevoked, mintmark.EventTokenSuperseded, "token.unheard-of",
	}
)

// TestTable spells out each legal cell once more, in another form than the code:
// rows are states, columns happenings, "." is illegal.
func TestTable(t *testing.T) {
	const (
		u, i, a, s, e, r, d = mintmark.StateUnknown, mintmark.StateIssued, mintmark.StateActive, mintmark.StateSuspended, mintmark.StateExpired, mintmark.StateRevoked, mintmark.StateSuperseded
		no                  = mintmark.TokenState(99)
	)
	want := [7][7]mintmark.TokenState{
		//       issued seen susp restored revoked superseded unheard
		u: {i, a, no, no, no, no, no},
		i: {no, a, s, no, r, d, no},
		a: {no, a, s, no, r, d, no},
		s: {no, s, s, i, r, no, no},
		e: {no, e, no, no, e, no, no},
		r: {no, r, no, no, r, no, no},
		d: {no, d, no, no, d, no, no},
	}
	for _, from := range states {
		for j, what := range happenings {
			got, err := Step(from, what)
			switch w := want[from][j]; {
			case w == no && !errors.Is(err, ErrTransition):
				t.Errorf("%s while %s: %v, %v; want refused", what, from, got, err)
			case w != no && (err != nil || got != w):
				t.Errorf("%s while %s: %v, %v; want %v", what, from, got, err, w)
			}
		}
	}
}

// TestNothingComesBack: whatever happens to a token in a final state, it is not
// accepted again.
func TestNothingComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := mintmark.StateUnknown
		final := false
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			what := rapid.SampledFrom(happenings).Draw(t, "what")
			next, err := Step(state, what)
			if err != nil && next != state {
				t.Fatalf("refused %s moved %s to %s", what, state, next)
			}
			if final && (next.Live() || next == mintmark.StateSuspended) {
				t.Fatalf("%s brought a token back from %s to %s", what, state, next)
			}
			state = next
			final = final || Final(state)
		}
	})
}

// TestAt: expiry comes at its second and stays, and never hides a final state.
func TestAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(states).Draw(t, "state")
		exp := rapid.Int64Range(0, 1000).Draw(t, "exp")
		now := rapid.Int64Range(0, 1000).Draw(t, "now")
		seen := rapid.Bool().Draw(t, "seen")
		got := At(s, seen, exp, time.Unix(now, 0))
		over := exp != 0 && now >= exp
		switch {
		case (Final(s) || s == mintmark.StateUnknown) && got != s:
			t.Fatalf("%s became %s", s, got)
		case !Final(s) && s != mintmark.StateUnknown && over && got != mintmark.StateExpired:
			t.Fatalf("%s past its expiry is %s", s, got)
		case over && got.Live():
			t.Fatalf("%s is live past its expiry", got)
		case s == mintmark.StateIssued && !over && (got == mintmark.StateActive) != seen:
			t.Fatalf("issued, seen %v: %s", seen, got)
		}
	})
}
