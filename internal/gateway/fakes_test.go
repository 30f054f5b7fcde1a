package gateway

import (
	"context"

	"github.com/mintmark/mintmark/internal/bus"
)

type recorderFunc func() error

func (f recorderFunc) Record(context.Context, bus.Use) error { return f() }
