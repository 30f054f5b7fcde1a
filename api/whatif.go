package api

import (
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
