package ledger

import (
	"context"
	"slices"

	"github.com/mintmark/mintmark"
)

type alongKey struct{}

// Along returns a context whose deed writes events, too, in its own transaction:
// what must be known exactly when the deed was done, such as that an idempotency
// key is used up. Whoever appends the deed asks for them by Batch.With.
func Along(ctx context.Context, events ...mintmark.Event) context.Context {
	return context.WithValue(ctx, alongKey{}, events)
}

// With returns b with what ctx carries along. Call it for the one append that is
// the deed, and for no preparation: who finds the events takes the deed for done.
func (b Batch) With(ctx context.Context) Batch {
	if more, _ := ctx.Value(alongKey{}).([]mintmark.Event); len(more) > 0 {
		b.Events = append(slices.Clip(b.Events), more...)
	}
	return b
}
