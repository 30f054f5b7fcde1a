package rollout

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
)

// State is where a rollout is.
type State string

// States. Progressing and promoted are open: the candidate is on probation.
const (
	Progressing State = "progressing" // the candidate has a share, maybe none
	Promoted    State = "promoted"    // the candidate has all, and can be taken back
	Finalised   State = "finalised"   // the candidate is the stable release
	RolledBack  State = "rolled_back" // the candidate was taken back
)

// Open reports whether the rollout is under way.
func (s State) Open() bool { return s == Progressing || s == Promoted }

// Strategies.
const (
	BlueGreen = "blue-green" // nothing, then everything
	Canary    = "canary"     // a share that grows
)

// Verb is what a person may do to a rollout.
type Verb string

// Verbs.
const (
	VerbStart    Verb = "start"
	VerbWeight   Verb = "weight"
	VerbPromote  Verb = "promote"
	VerbRollback Verb = "rollback"
	VerbFinalise Verb = "finalise"
)

// Full is the weight of everything, in basis points.
const Full = 10_000

// Rollout moves a service from its stable release to a candidate. It is the body
// of the ledger document rollout/<id>; members are added, never renamed.
type Rollout struct {
	ID        mintmark.RolloutID `json:"id"`
	Service   string             `json:"service"`
	Stable    string             `json:"stable"`
	Candidate string             `json:"candidate"`
	Strategy  string             `json:"strategy"`
	State     State              `json:"state"`
	// Weight is the candidate's share in basis points. Salt decides cohorts and
	// never changes, so that cohorts are nested as the weight grows.
	Weight int    `json:"weight"`
	Salt   string `json:"salt"`
	// Cutoff is the issuance sequence number at the rollback: tokens of the
	// candidate up to it met the dispositions. 0 until then.
	Cutoff  uint64             `json:"cutoff,omitempty"`
	Actor   string             `json:"actor"`
	Reason  string             `json:"reason,omitempty"`
	Started int64              `json:"started"` // Unix milliseconds
	Updated int64              `json:"updated"`
	Epoch   uint64             `json:"epoch"`
	Staged  bool               `json:"staged"` // live gateways hold the inverse
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
	History []Done             `json:"history"`
}

// Done is one step that was taken.
type Done struct {
	At      int64              `json:"at"` // Unix milliseconds
	Verb    Verb               `json:"verb"`
	Weight  int                `json:"weight"`
	Actor   string             `json:"actor"`
	Reason  string             `json:"reason,omitempty"`
	Epoch   uint64             `json:"epoch"`
	Seq     uint64             `json:"seq"`
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
}

// Errors that callers decide by.
var (
	// ErrIllegal: the verb does not go with the rollout's state.
	ErrIllegal = errors.New("not possible now")
	// ErrInvalid: what was asked makes no sense in any state.
	ErrInvalid = errors.New("not possible")
)

// transitions are the only legal ones.
var transitions = map[State]map[Verb]State{
	"":          {VerbStart: Progressing},
	Progressing: {VerbWeight: Progressing, VerbPromote: Promoted, VerbRollback: RolledBack},
	Promoted:    {VerbWeight: Progressing, VerbRollback: RolledBack, VerbFinalise: Finalised},
	Finalised:   {},
	RolledBack:  {},
}

// Step takes a verb and returns the rollout after it. Weight matters for start and
// weight only, in basis points. A rollout that was rolled back already answers
// rollback with itself and changed false, so that two operators who press the
// button both succeed; the same holds for promote and finalise.
func Step(r Rollout, verb Verb, weight int) (next Rollout, changed bool, err error) {
	to, ok := transitions[r.State][verb]
	if !ok {
		if settled(verb) == r.State && r.State != "" {
			return r, false, nil
		}
		return r, false, fmt.Errorf("%w: rollout %s is %s; %s", ErrIllegal, r.ID, r.State, possible(r.State))
	}
	switch verb {
	case VerbStart, VerbWeight:
		if err := checkWeight(r.Strategy, verb, weight); err != nil {
			return r, false, err
		}
		r.Weight = weight
	case VerbPromote, VerbFinalise:
		r.Weight = Full
	case VerbRollback:
		r.Weight = 0
	}
	r.State = to
	return r, true, nil
}

func settled(v Verb) State {
	return map[Verb]State{VerbPromote: Promoted, VerbRollback: RolledBack, VerbFinalise: Finalised}[v]
}

func possible(s State) string {
	var verbs []string
	for _, v := range []Verb{VerbWeight, VerbPromote, VerbRollback, VerbFinalise} {
		if _, ok := transitions[s][v]; ok {
			verbs = append(verbs, string(v))
		}
	}
	if len(verbs) == 0 {
		return "it is over: start another rollout"
	}
	return "possible: " + strings.Join(verbs, ", ")
}

func checkWeight(strategy string, verb Verb, weight int) error {
	switch {
	case strategy != BlueGreen && strategy != Canary:
		return fmt.Errorf("%w: strategy %.40q: want %s or %s", ErrInvalid, strategy, BlueGreen, Canary)
	case weight < 0 || weight > Full:
		return fmt.Errorf("%w: weight must be 0 to 100 percent", ErrInvalid)
	case strategy == BlueGreen && verb == VerbWeight:
		return fmt.Errorf("%w: a blue-green rollout has no weight; promote it", ErrInvalid)
	case strategy == BlueGreen && weight != 0:
		return fmt.Errorf("%w: a blue-green rollout starts without traffic; promote it, or choose canary", ErrInvalid)
	}
	return nil
}

// ParsePercent reads a share as people write it, with up to two decimals and an
// optional percent sign, into basis points.
func ParsePercent(s string) (int, error) {
	bad := fmt.Errorf("%w: weight %.20q: want a percentage from 0 to 100 with up to two decimals, such as 5 or 0.25", ErrInvalid, s)
	whole, frac, dot := strings.Cut(strings.TrimSuffix(s, "%"), ".")
	if dot && (len(frac) == 0 || len(frac) > 2) || len(whole) == 0 || len(whole) > 3 {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole+(frac + "00")[:2], 10, 16)
	if err != nil || n > Full {
		return 0, bad
	}
	return int(n), nil
}

// FormatPercent is the inverse of ParsePercent, without the sign.
func FormatPercent(bp int) string {
	s := strconv.Itoa(bp / 100)
	if f := bp % 100; f != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%02d", f), "0")
	}
	return s
}

// unbounded is the cut-off of a release that is away: nothing mints under it, so
// that every token it has is concerned. When it comes back, Return puts the true
// number. That way the inverse needs no number that is known only at its commit.
const unbounded = uint64(math.MaxInt64)
