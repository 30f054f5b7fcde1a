package predicate

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"

	"github.com/mintmark/mintmark/internal/health"
)

// activation gives an expression the variables that it asks for, and no others.
type activation struct{ o *health.Observed }

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	o := a.o
	switch name {
	case "status":
		return int64(o.Status), true
	case "upstream_status":
		return int64(o.Upstream), true
	case "code":
		return string(o.Code), true
	case "method":
		return cut(o.Method), true
	case "latency_ms":
		return float64(o.Latency) / float64(time.Millisecond), true
	case "route":
		if o.Route != nil {
			return cut(o.Route.ID), true
		}
		return "", true
	case "release":
		if o.Served != nil {
			return cut(o.Served.Name), true
		}
		return "", true
	case "client":
		if o.Token != nil {
			return cut(string(o.Token.Client)), true
		}
		return "", true
	case "kind":
		if o.Token != nil {
			return o.Token.Kind.String(), true
		}
		return "", true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (*activation) Parent() cel.Activation { return nil }

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

// sizes tells the estimate of cost how long the variables can be.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(cost.AstNode) *cost.SizeEstimate {
	return &cost.SizeEstimate{Min: 0, Max: maxText}
}

// EstimateCallCost implements cost.Estimator.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
