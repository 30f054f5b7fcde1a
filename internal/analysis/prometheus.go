package analysis

import (
	"context"
	"sync"

	"github.com/mintmark/mintmark/internal/health"
)

// Fetch asks Prometheus for an instant vector: the value of each sample by the
// value of a label.
type Fetch func(ctx context.Context, query, label string) (map[string]float64, error)

type poll struct{}

func (a *Analysis) poll(ctx context.Context, wg *sync.WaitGroup) {}

// CheckExpressions compiles the specification's expressions; the error names each
// fault with its field, line and column.
func CheckExpressions(s health.Spec) error { return nil }
