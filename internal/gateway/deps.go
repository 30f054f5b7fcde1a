package gateway

import (
	"context"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/verifier"
)

// State is what the gateway follows of control's state log. All methods are cheap
// but CatchUp and may be called concurrently.
type State interface {
	// Current returns the snapshot in force; never nil.
	Current() *epoch.Snapshot
	// Freshness says how far it may be trusted at this moment.
	Freshness() admission.Freshness
	// CatchUp returns nil once everything up to seq is in Current, or, with seq
	// 0, everything up to the head that control names when asked. Concurrent
	// calls are collapsed; ctx bounds the wait.
	CatchUp(ctx context.Context, seq uint64) error
}

// Verifier turns a presented value into a token; see verifier.Verifier.
type Verifier interface {
	Verify(ctx context.Context, snap *epoch.Snapshot, scheme admission.Scheme, value string, now time.Time, out *verifier.Verified) mintmark.Code
}

// Counter counts decisions; see usage.Counter.
type Counter interface {
	Count(t *mintmark.Token, route *epoch.RouteEntry, served *epoch.ReleaseEntry, code mintmark.Code, now time.Time)
	Refuse(r bus.Refusal)
	Foreign(t *mintmark.Token)
}

// Recorder makes single uses durable.
type Recorder interface {
	// Record returns once u will survive the death of this process. An error
	// means that the request must not go on.
	Record(ctx context.Context, u bus.Use) error
}

// Reissuer fetches internal tokens of another shape from control. An error means
// that the state is unknown.
type Reissuer interface {
	Reissue(ctx context.Context, r bus.ReissueRequest) (bus.ReissueReply, error)
}

// Once sets single-use marks across all gateways. An error means that it is not
// known whether the mark was set.
type Once interface {
	Once(ctx context.Context, r bus.OnceRequest) (bus.OnceReply, error)
}
