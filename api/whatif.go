package api

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/mintmark/mintmark"
)

// Stranded lists tokens that a rollout's candidate minted and the stable release
// would not go on with: shadow verification.
type Stranded struct {
	Rollout   mintmark.RolloutID `json:"rollout"`
	Stable    mintmark.ReleaseID `json:"stable"`
	Candidate mintmark.ReleaseID `json:"candidate"`
	// Judged is how many of the candidate's tokens were looked at; More says that
	// there are others.
	Judged int64 `json:"judged"`
	More   bool  `json:"more,omitempty"`
	// Classes counts what was found, by class; Tokens are the first of them.
	Classes map[string]int64 `json:"classes"`
	Tokens  []StrandedToken  `json:"tokens"`
}

// StrandedToken is one of them.
type StrandedToken struct {
	ID       mintmark.TokenID    `json:"id"`
	Class    string              `json:"class"`
	Stranded bool                `json:"stranded"`          // a rollback would cut it off
	Tainted  bool                `json:"tainted,omitempty"` // and rightly so
	Kind     mintmark.TokenKind  `json:"kind"`
	State    mintmark.TokenState `json:"state"`
	Client   mintmark.ClientID   `json:"client,omitempty"`
	Owner    string              `json:"owner,omitempty"`
	Scopes   []string            `json:"scopes,omitempty"`
	Audience []string            `json:"audience,omitempty"`
	Issued   time.Time           `json:"issued"`
	Expires  *time.Time          `json:"expires,omitempty"`
}

// SimulateRequest asks what resources would have changed for requests that were
// recorded.
type SimulateRequest struct {
	// Files and Prune are as for :apply; nothing is changed.
	Files []File `json:"files"`
	Prune bool   `json:"prune,omitempty"`
	// Recorded is how far back to go, such as 1h; everything that is kept when left
	// out. Since, if it is later, is the moment from which on.
	Recorded string     `json:"recorded,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	Service  string     `json:"service,omitempty"` // of this service only
}

// Simulation says what a candidate policy would have changed. Requests are estimates
// from a sample.
type Simulation struct {
	Shapes   int   `json:"shapes"`   // records that were judged
	Requests int64 `json:"requests"` // that they stand for
	From     int64 `json:"from,omitempty"`
	To       int64 `json:"to,omitempty"`
	// Assumed are requests that were refused for what a record can't tell (a signature,
	// a revocation): taken to be as they were. Drifted were decided otherwise than the
	// policy in force decides their record.
	Assumed  int64           `json:"assumed"`
	Drifted  int64           `json:"drifted"`
	Refused  int64           `json:"newly_refused"`
	Admitted int64           `json:"newly_admitted"`
	Reasons  int64           `json:"other_reason"`
	Releases int64           `json:"other_release"`
	Rows     []SimulationRow `json:"rows"`
	More     int             `json:"more,omitempty"` // rows left out
	// Changes are what applying would do.
	Changes  []Change `json:"changes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// SimulationRow is one change for the requests of a client on a route.
type SimulationRow struct {
	// Change is newly_refused, newly_admitted, other_reason or other_release.
	Change       string             `json:"change"`
	Client       mintmark.ClientID  `json:"client,omitempty"`
	Issuer       string             `json:"issuer,omitempty"`
	Release      mintmark.ReleaseID `json:"release,omitempty"` // that minted
	Route        string             `json:"route"`
	Method       string             `json:"method"`
	Before       string             `json:"before"` // admitted, or a code
	After        string             `json:"after"`
	ServedBefore mintmark.ReleaseID `json:"served_before,omitempty"`
	ServedAfter  mintmark.ReleaseID `json:"served_after,omitempty"`
	Requests     int64              `json:"requests"`
	Shapes       int                `json:"shapes"`
	Sample       []json.RawMessage  `json:"sample,omitempty"`
}

// Recorded are redacted records of requests, oldest first.
type Recorded struct {
	Records []json.RawMessage `json:"records"`
	// More says that there are older ones.
	More bool `json:"more,omitempty"`
}

// Simulate says what resources would have changed for recorded requests; nothing
// changes.
func (c *Client) Simulate(ctx context.Context, r SimulateRequest) (*Simulation, error) {
	return call[Simulation](ctx, c, "POST", "/v1/resources:simulate", r)
}

// Recorded returns redacted records of requests, as far back as recorded says, such
// as 1h; all that are kept when it is empty.
func (c *Client) Recorded(ctx context.Context, recorded, service string) (*Recorded, error) {
	return call[Recorded](ctx, c, "GET", "/v1/recorded?"+url.Values{"recorded": {recorded}, "service": {service}}.Encode(), nil)
}
