package fleet

import "time"

// Lease arithmetic. Two clocks that nobody synchronised each run at a rate within
// ±ρ of true time. A gateway counts from the moment it sent its renewal, and
// takes every interval for as long as it can truly have been: measured/(1−ρ). We
// count from the moment we answered, which is later, and take every interval for
// as short as it can truly have been: measured/(1+ρ). So our end of a lease is
// never before the gateway's; δ is for the grain of clocks and schedulers.
const (
	// DefaultLease is how long a lease lasts.
	DefaultLease = 3 * time.Second
	driftPercent = 10
	slack        = 50 * time.Millisecond
)

// provablyOver returns how long after an answer, on our clock, a budget that was
// counted from that answer's request is over on the gateway's clock too.
func provablyOver(budget time.Duration) time.Duration {
	return budget + budget*driftPercent/100 + slack
}

// answer says when we last answered a renewal with a head.
type answer struct {
	head uint64
	at   time.Duration
}

// answers remembers the renewals that we answered to one gateway, by head. A
// renewal answered with head h takes effect only once the gateway has applied h:
// so for a row s only those with a lower head matter.
type answers struct {
	list []answer // ascending by head and by time
	// floor is no earlier than any answer that is not in list: given by an earlier
	// control process, or dropped for want of room.
	floor time.Duration
}

const maxAnswers = 1024

// never is the floor of a gateway that no control process has answered yet.
const never = time.Duration(-1 << 60)

// add notes that a renewal was answered with head at a moment.
func (a *answers) add(head uint64, at time.Duration) {
	if n := len(a.list); n > 0 && a.list[n-1].head >= head {
		a.list[n-1].at = at
		return
	}
	if len(a.list) == maxAnswers {
		// The dropped one counts for every row from now on: later than true for old
		// rows, hence safe.
		a.floor = a.list[0].at
		a.list = append(a.list[:0], a.list[1:]...)
	}
	a.list = append(a.list, answer{head, at})
}

// before returns when we last answered with a head below seq.
func (a *answers) before(seq uint64) time.Duration {
	last := a.floor
	for _, x := range a.list {
		if x.head >= seq {
			break
		}
		last = max(last, x.at)
	}
	return last
}

// latest returns when we last answered at all.
func (a *answers) latest() time.Duration {
	if n := len(a.list); n > 0 {
		return max(a.floor, a.list[n-1].at)
	}
	return a.floor
}
