package api

import (
	"time"

	"github.com/mintmark/mintmark"
)

// RolloutRequest starts a rollout of a service to a candidate release.
type RolloutRequest struct {
	Service   string `json:"service"`
	Candidate string `json:"candidate"` // a release's name
	// Strategy is blue-green (default) or canary.
	Strategy string `json:"strategy,omitempty"`
	// Weight is the candidate's first share in percent, with up to two decimals,
	// as text: "5", "0.25". Canary only.
	Weight string `json:"weight,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Unsafe goes on although the plan is not rollback-safe.
	Unsafe  bool   `json:"unsafe,omitempty"`
	Wait    bool   `json:"wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

// StepRequest is the body of :weight, :promote, :rollback and :finalise.
type StepRequest struct {
	Reason string `json:"reason,omitempty"`
	// Weight is for :weight only, in percent as in RolloutRequest.
	Weight string `json:"weight,omitempty"`
	// Dispositions overrides what becomes of a class of the candidate's tokens,
	// for :rollback only: class to keep, map, reissue or revoke.
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
	// State is progressing, promoted, finalised or rolled_back.
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
}
