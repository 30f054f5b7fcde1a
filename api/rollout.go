package api

import (
	"time"

	"github.com/mintmark/mintmark"
)

// RolloutRequest starts a rollout of a service to a candidate release.
type RolloutRequest struct {
	Service   string `json:"service"`
	Candidate string `json:"candidate"` // a release's name
	// Strategy is blue-green (default), canary or shadow.
	Strategy string `json:"strategy,omitempty"`
	// Weight is the candidate's first share in percent, with up to two decimals,
	// as text: "5", "0.25". Canary only.
	Weight string `json:"weight,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Unsafe goes on although the plan is not rollback-safe.
	Unsafe  bool   `json:"unsafe,omitempty"`
	Wait    bool   `json:"wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
	// File is a document of kind Rollout: it says all of the above but Reason,
	// Unsafe, Wait and Timeout, and how the rollout comes forward by itself.
	File *File `json:"file,omitempty"`
	// ManualRollback leaves taking back to people: a failing health only pauses.
	ManualRollback bool `json:"manual_rollback,omitempty"`
	// Plan is what was planned: when the state moved since in a way that matters to
	// it, nothing is started and the conflict says what changed.
	Plan *Plan `json:"plan,omitempty"`
	// Resources are for :plan only: plan as if these files were applied.
	Resources []File `json:"resources,omitempty"`
}

// StepRequest is the body of :weight, :pause, :resume, :approve, :promote,
// :finalise, :rollback, :abort and :undo.
type StepRequest struct {
	Reason string `json:"reason,omitempty"` // :abort demands one
	// Version, if not 0, is the rollout's version that the caller has seen: when it
	// moved on since, nothing is done.
	Version uint64 `json:"version,omitempty"`
	// Weight is for :weight only, in percent as in RolloutRequest.
	Weight string `json:"weight,omitempty"`
	// Dispositions overrides what becomes of a class of the candidate's tokens, for
	// :rollback, :abort and :undo: class to keep, map, reissue or revoke.
	Dispositions map[string]mintmark.Disposition `json:"dispositions,omitempty"`
	Wait         bool                            `json:"wait,omitempty"`
	Timeout      string                          `json:"timeout,omitempty"`
}

// Rollout is a rollout's state.
type Rollout struct {
	ID        mintmark.RolloutID `json:"rollout"`
	Service   string             `json:"service"`
	Stable    string             `json:"stable"`
	Candidate string             `json:"candidate"`
	Strategy  string             `json:"strategy"`
	// State is progressing, waiting (for approval), paused, promoted, finalised or
	// rolled_back.
	State   string `json:"state"`
	Percent string `json:"percent"` // candidate's share
	Epoch   uint64 `json:"epoch"`
	// Staged says that every live gateway holds the inverse, ready to commit.
	Staged   bool               `json:"staged"`
	Started  time.Time          `json:"started"`
	Updated  time.Time          `json:"updated"`
	Actor    string             `json:"actor,omitempty"`
	Reason   string             `json:"reason,omitempty"`
	Receipt  mintmark.ReceiptID `json:"receipt,omitempty"`
	History  []RolloutStep      `json:"history,omitempty"`
	Version  uint64             `json:"version"`
	Live     []TokenCount       `json:"live,omitempty"` // live tokens of the two releases
	Gateways []Gateway          `json:"gateways,omitempty"`

	// Steps are those that it goes through by itself; none when people move it.
	Steps []RolloutStage `json:"steps,omitempty"`
	// AutoPromote and AutoRollback say what it does by itself at the end, and when
	// its health fails.
	AutoPromote  bool `json:"auto_promote,omitempty"`
	AutoRollback bool `json:"auto_rollback,omitempty"`
	// Held says why it is paused. Frozen is the window that keeps it where it is.
	Held   string  `json:"held,omitempty"`
	Frozen *Frozen `json:"frozen,omitempty"`
	// Approvals were given for the step under way; Approvers are the roles that may,
	// and Wanted how many.
	Approvals []RolloutApproval `json:"approvals,omitempty"`
	Approvers []string          `json:"approvers,omitempty"`
	Wanted    int               `json:"approvals_wanted,omitempty"`
	// Evidence is the newest of its health, with the trajectory where that is known.
	Evidence *mintmark.Evidence `json:"evidence,omitempty"`
	// Source is the file that it was started from.
	Source string `json:"source,omitempty"`
}

// RolloutStage is one of a rollout's steps.
type RolloutStage struct {
	Kind    string `json:"kind"`              // weight, pause, approval, gate
	Percent string `json:"percent,omitempty"` // of kind weight
	// Length is how long a pause lasts, and the longest that others wait, such as
	// 10m0s; empty is as long as it takes.
	Length string `json:"length,omitempty"`
	// State is done, current or ahead.
	State string     `json:"state"`
	Since *time.Time `json:"since,omitempty"` // of the current one
}

// Frozen is a freeze window that holds.
type Frozen struct {
	Window string    `json:"window"`
	Until  time.Time `json:"until"`
}

// RolloutApproval is one person's consent to a step.
type RolloutApproval struct {
	Actor string    `json:"actor"`
	Role  string    `json:"role"`
	At    time.Time `json:"at"`
	Note  string    `json:"note,omitempty"`
}

// Verdicts of a gate.
const (
	VerdictPass         = "pass"
	VerdictFail         = "fail"
	VerdictWait         = "wait"
	VerdictInconclusive = "inconclusive"
)

// Gate is whether a pipeline may go on: the verdict about a rollout's candidate.
// Its status is always 200, so that callers who read bodies only can read it.
type Gate struct {
	Rollout   mintmark.RolloutID `json:"rollout"`
	Service   string             `json:"service"`
	Candidate string             `json:"candidate"`
	Stable    string             `json:"stable"`
	State     string             `json:"state"`
	Epoch     uint64             `json:"epoch"`
	// Verdict is pass, fail, wait or inconclusive; OK is whether it is pass.
	Verdict string `json:"verdict"`
	OK      bool   `json:"ok"`
	// EFail and ESafe are the e-values against the candidate and for it being safe;
	// it fails at 1/Alpha and is safe at 1/Beta. 0: there is no analysis.
	EFail float64 `json:"e_fail"`
	ESafe float64 `json:"e_safe"`
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
	// Metric is the one that says most, RateRatio its rate on the candidate over that
	// on the stable release.
	Metric    string     `json:"metric,omitempty"`
	RateRatio *RateRatio `json:"rate_ratio,omitempty"`
	Reasons   []string   `json:"reasons"`
	// Percent is the candidate's share, 0 to 100.
	Percent float64            `json:"percent"`
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
	// Exposed counts the subjects of each arm.
	Exposed Exposure  `json:"exposed"`
	At      time.Time `json:"at"` // when it was judged
}

// Exposure counts subjects by arm.
type Exposure struct {
	Candidate uint64 `json:"candidate"`
	Stable    uint64 `json:"stable"`
}

// RateRatio is an estimate with its bounds; Hi is absent while it is unbounded.
type RateRatio struct {
	Est float64  `json:"est"`
	Lo  float64  `json:"lo"`
	Hi  *float64 `json:"hi,omitempty"`
}

// ExitVerdict returns the exit code for a gate's verdict; a verdict that this
// version does not know is never a pass.
func ExitVerdict(verdict string) int {
	switch verdict {
	case VerdictPass:
		return ExitOK
	case VerdictFail:
		return ExitGateFail
	case VerdictWait:
		return ExitWait
	}
	return ExitInconclusive
}

// RolloutStep is one thing that was done to a rollout.
type RolloutStep struct {
	At      time.Time          `json:"at"`
	Verb    string             `json:"verb"`
	Percent string             `json:"percent"`
	Actor   string             `json:"actor"`
	Reason  string             `json:"reason,omitempty"`
	Epoch   uint64             `json:"epoch"`
	Seq     uint64             `json:"seq"`
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
	// Evidence is why it was done without anybody asking.
	Evidence *mintmark.Evidence `json:"evidence,omitempty"`
}

// Rollouts lists rollouts, newest first.
type Rollouts struct {
	Rollouts []Rollout `json:"rollouts"`
}

// RolloutAnswer is what a step did: the rollout after it, and its receipt.
type RolloutAnswer struct {
	Rollout Rollout           `json:"rollout"`
	Receipt *mintmark.Receipt `json:"receipt,omitempty"`
}

// TokenCount counts the live tokens of a class.
type TokenCount struct {
	Release mintmark.ReleaseID `json:"release"`
	Class   string             `json:"class,omitempty"`
	Tokens  int64              `json:"tokens"`
}

// Plan says what a rollout, and its rollback, would mean for live tokens.
type Plan struct {
	Service   string `json:"service"`
	Stable    string `json:"stable"`
	Candidate string `json:"candidate"`
	// Safe is whether rolling back strands no harmless token. Not safe: exit 20.
	Safe    bool       `json:"rollback_safe"`
	Forward []PlanLine `json:"forward"` // stable's tokens under the candidate
	Back    []PlanLine `json:"back"`    // candidate's tokens under the stable release
	Reasons []string   `json:"reasons,omitempty"`
	// Digest names what the plan depends on: two plans with the same digest were made
	// of the same state, but for the number of tokens. Basis is that state by name.
	Digest string            `json:"digest,omitempty"`
	Basis  map[string]string `json:"basis,omitempty"`
	// Stranded counts the harmless live tokens that would be refused in each
	// direction, and Tainted those that a rollback would revoke because they are wrong.
	Stranded PlanCount `json:"stranded"`
	Tainted  int64     `json:"tainted,omitempty"`
	// Hit are the clients, and the owners of API keys, whose tokens would be revoked
	// or reissued, most tokens first; HitMore is how many more there are.
	Hit     []PlanHit `json:"hit,omitempty"`
	HitMore int       `json:"hit_more,omitempty"`
	// Load is what a rollback would have to reissue, when it is anything.
	Load *ReissueLoad `json:"reissue_load,omitempty"`
	// Applied is false for a plan of files that are not applied yet.
	Applied bool `json:"applied"`
}

// PlanCount counts tokens by direction.
type PlanCount struct {
	Forward int64 `json:"forward"`
	Back    int64 `json:"back"`
}

// PlanHit is whose tokens a switch would cost.
type PlanHit struct {
	Direction   string               `json:"direction"` // forward or back
	Client      mintmark.ClientID    `json:"client"`
	Owner       string               `json:"owner,omitempty"` // of API keys
	Class       string               `json:"class"`
	Disposition mintmark.Disposition `json:"disposition"`
	Tokens      int64                `json:"tokens"`
}

// ReissueLoad is the expected course of reissues after a rollback: turns are spread
// evenly, and a token that expires before its turn needs none.
type ReissueLoad struct {
	Tokens        int64 `json:"tokens"`
	WindowSeconds int64 `json:"window_seconds"`
	// Peak is the rate per second that is exceeded in one second of a thousand.
	Peak int64 `json:"peak_per_second"`
	// Curve is the expected rate, in thousandths of a token per second, in equal parts
	// of the window.
	Curve []int64 `json:"curve_milli"`
}

// PlanLine is one class of tokens of a release.
type PlanLine struct {
	Release     mintmark.ReleaseID   `json:"release"` // that minted
	Under       mintmark.ReleaseID   `json:"under"`   // that would read
	Class       string               `json:"class"`
	Compat      string               `json:"compat"` // native, mapped, lossy, reissuable, none
	Tainted     bool                 `json:"tainted,omitempty"`
	Disposition mintmark.Disposition `json:"disposition"`
	Tokens      int64                `json:"tokens"`
	// Sample are some of them.
	Sample []mintmark.TokenID `json:"sample,omitempty"`
}
