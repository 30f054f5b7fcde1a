package fleet

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

// clock runs at a rate of true time, from an origin nobody knows.
type clock struct {
	origin time.Duration
	rate   float64
}

func (c clock) at(truth time.Duration) time.Duration {
	return c.origin + time.Duration(float64(truth)*c.rate)
}

// TestOurEndOfABudgetIsNeverBeforeTheGateways draws two clocks within ρ of true
// time, renewals, and rows between them, and asks at every moment: when we call
// the gateway fenced for a row, does it still decide by a state without that row?
func TestOurEndOfABudgetIsNeverBeforeTheGateways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.9, 1.1)
		span := func(max time.Duration, what string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(max)).Draw(t, what))
		}
		ours := clock{time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "our origin")), rate.Draw(t, "our rate")}
		theirs := clock{time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "their origin")), rate.Draw(t, "their rate")}
		budget := DefaultLease + span(time.Minute, "budget")
		row := uint64(rapid.IntRange(1, 8).Draw(t, "row"))

		a := answers{floor: never}
		var truth time.Duration
		sent := time.Duration(-1) // on their clock: the last renewal in effect without the row
		for head := uint64(0); head < row; head++ {
			for range rapid.IntRange(0, 3).Draw(t, "renewals") {
				truth += span(2*time.Second, "pause")
				at := theirs.at(truth)
				truth += span(3*time.Second, "way there") // answered later than sent
				a.add(head, ours.at(truth))
				if rapid.Bool().Draw(t, "arrived") {
					sent = at
				}
			}
		}
		// Answers with the row's head or later take effect only with the row applied:
		// they must not matter.
		truth += span(time.Second, "commit")
		a.add(row, ours.at(truth))
		if sent < 0 {
			return
		}
		over := a.before(row) + provablyOver(budget)
		// The true moment at which our clock says over.
		fenced := time.Duration(float64(over-ours.origin) / ours.rate)
		age := (theirs.at(fenced) - sent) * 100 / (100 - driftPercent)
		if age <= budget {
			t.Fatalf("fenced at %v: the gateway's state is %v old by its own count, its budget is %v", fenced, age, budget)
		}
	})
}

func TestAnswersForgetOnTheSafeSide(t *testing.T) {
	var a answers
	a.floor = 5
	for i := range uint64(3 * maxAnswers) {
		a.add(i, time.Duration(10+i))
	}
	if len(a.list) > maxAnswers {
		t.Errorf("%d answers kept", len(a.list))
	}
	for _, seq := range []uint64{0, 1, maxAnswers, 3*maxAnswers - 1, 3 * maxAnswers, 1 << 60} {
		truth := time.Duration(5)
		if n := min(seq, 3*maxAnswers); n > 0 {
			truth = time.Duration(10 + n - 1)
		}
		if got := a.before(seq); got < truth {
			t.Errorf("before(%d) = %v, earlier than the true %v", seq, got, truth)
		}
	}
}

func TestOutcomeIsTheWeakestLine(t *testing.T) {
	for _, c := range []struct {
		want  mintmark.Outcome
		lines []mintmark.Reach
	}{
		{mintmark.OutcomeEffective, nil},
		{mintmark.OutcomeEffective, []mintmark.Reach{mintmark.ReachApplied}},
		{mintmark.OutcomeByLease, []mintmark.Reach{mintmark.ReachApplied, mintmark.ReachFenced}},
		{mintmark.OutcomeStatic, []mintmark.Reach{mintmark.ReachStatic, mintmark.ReachFenced}},
		{mintmark.OutcomePending, []mintmark.Reach{mintmark.ReachStatic, mintmark.ReachPending, mintmark.ReachApplied}},
	} {
		var lines []mintmark.GatewayReach
		for _, r := range c.lines {
			lines = append(lines, mintmark.GatewayReach{Reach: r})
		}
		if got := outcome(lines); got != c.want {
			t.Errorf("%v: %s, want %s", c.lines, got, c.want)
		}
	}
}
