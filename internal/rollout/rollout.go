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

// States. All but the last two are open: the candidate is on probation.
const (
	Progressing State = "progressing" // the candidate has a share, maybe none
	Waiting     State = "waiting"     // a step wants approval
	Paused      State = "paused"      // nothing grows until it is resumed
	Promoted    State = "promoted"    // the candidate has all, and can be taken back
	Finalised   State = "finalised"   // the candidate is the stable release
	RolledBack  State = "rolled_back" // the candidate was taken back
)

// States lists them, open ones first.
func States() []State { return []State{Progressing, Waiting, Paused, Promoted, Finalised, RolledBack} }

// Open reports whether the rollout is under way.
func (s State) Open() bool {
	return s == Progressing || s == Waiting || s == Paused || s == Promoted
}

// Strategies.
const (
	BlueGreen = "blue-green" // nothing, then everything
	Canary    = "canary"     // a share that grows
	Mirrored  = "shadow"     // copies of requests, then everything
)

// Verb is what a person may do to a rollout.
type Verb string

// Verbs. Abort is a rollback that must say why; undo takes back what was promoted
// or even finalised.
const (
	VerbStart    Verb = "start"
	VerbWeight   Verb = "weight"
	VerbPause    Verb = "pause"
	VerbResume   Verb = "resume"
	VerbApprove  Verb = "approve"
	VerbPromote  Verb = "promote"
	VerbRollback Verb = "rollback"
	VerbAbort    Verb = "abort"
	VerbUndo     Verb = "undo"
	VerbFinalise Verb = "finalise"
	// VerbTick is the passing of time: nobody's wish. It stands in histories where
	// the rollout moved by itself to its next share.
	VerbTick Verb = "step"
)

// TakesBack reports whether the verb takes the candidate back.
func (v Verb) TakesBack() bool { return v == VerbRollback || v == VerbAbort || v == VerbUndo }

// Full is the weight of everything, in basis points.
const Full = 10_000

// Rollout moves a service from its stable release to a candidate. It is the body
// of the ledger document rollout/<id>; members are added, never renamed, and the
// zero value of each added one is what documents without it mean.
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
	Actor   string             `json:"actor"` // who started it
	Reason  string             `json:"reason,omitempty"`
	Started int64              `json:"started"` // Unix milliseconds
	Updated int64              `json:"updated"`
	Epoch   uint64             `json:"epoch"`
	Staged  bool               `json:"staged"` // live gateways hold the inverse
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
	History []Done             `json:"history"`

	// Spec is what the rollout was started with; nil for one that people move by
	// hand from beginning to end.
	Spec *Spec `json:"spec,omitempty"`
	// Step is the index of the step under way, len(Spec.Steps) after the last.
	// StepSince is when it began and Moved when the rollout last came forward, both
	// in Unix milliseconds.
	Step      int   `json:"step,omitempty"`
	StepSince int64 `json:"step_since,omitempty"`
	Moved     int64 `json:"moved,omitempty"`
	// Approvals are those of the step under way.
	Approvals []Approval `json:"approvals,omitempty"`
	// Before is the state that resume returns to, while Paused; Held says why it is,
	// HeldAt since when (Unix milliseconds).
	Before State  `json:"before,omitempty"`
	Held   string `json:"held,omitempty"`
	HeldAt int64  `json:"held_at,omitempty"`
	// Frozen is since when a freeze window keeps it where it is; 0 when none does.
	Frozen int64 `json:"frozen,omitempty"`
	// Health is the last that was noted, with its trajectory; nil until there is any.
	Health *mintmark.Evidence `json:"health,omitempty"`
	// StablePolicy is the version of the stable release's policy when the rollout
	// was finalised, for undo.
	StablePolicy uint64 `json:"stable_policy,omitempty"`
}

// Approval is one person's consent to a step.
type Approval struct {
	Actor string `json:"actor"`
	Role  string `json:"role"`
	At    int64  `json:"at"` // Unix milliseconds
	Note  string `json:"note,omitempty"`
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
	// Evidence is why the rollout moved by itself.
	Evidence *mintmark.Evidence `json:"evidence,omitempty"`
}

// Errors that callers decide by.
var (
	// ErrIllegal: the verb does not go with the rollout's state.
	ErrIllegal = errors.New("not possible now")
	// ErrInvalid: what was asked makes no sense in any state.
	ErrInvalid = errors.New("not possible")
	// ErrRole: whoever asks may not do this one thing.
	ErrRole = errors.New("not allowed to this person")
)

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
