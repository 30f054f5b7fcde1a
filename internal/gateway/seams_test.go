package gateway

import (
	"github.com/mintmark/mintmark/internal/usage"
	"github.com/mintmark/mintmark/internal/verifier"
)

// The data plane's other packages fit the gateway's seams.
var (
	_ Verifier = (*verifier.Verifier)(nil)
	_ Counter  = (*usage.Counter)(nil)
)
