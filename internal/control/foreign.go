package control

import (
	"context"

	"github.com/mintmark/mintmark/internal/policy"
)

// ForeignIssuers lists the issuers that the resources in force declare.
func (c *Control) ForeignIssuers(ctx context.Context) ([]policy.ForeignIssuer, error) {
	set, err := c.resources(ctx)
	if err != nil {
		return nil, err
	}
	return policy.ForeignIssuers(set)
}

// OnApply sets what is called after resources were applied. Call it before
// serving.
func (c *Control) OnApply(call func(context.Context)) { c.applied = call }
