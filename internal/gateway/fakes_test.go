package gateway

import (
	"context"

	"github.com/mintmark/mintmark/internal/bus"
)

type recorderFunc func() error

func (f recorderFunc) Record(context.Context, bus.Use) error { return f() }

type reissuerFunc func(bus.ReissueRequest) (bus.ReissueReply, error)

func (f reissuerFunc) Reissue(_ context.Context, r bus.ReissueRequest) (bus.ReissueReply, error) {
	return f(r)
}
