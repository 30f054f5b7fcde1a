// Package predicate answers: which requests does an expression that somebody wrote
// call bad?
//
// Expressions are CEL (github.com/google/cel-spec) of type bool over the variables
// of Variables. They are compiled at control, which says where one is wrong, and
// run at gateways after an answer. What one evaluation may cost is bounded twice:
// by an estimate at compile time and by a count at run time. Pure; a Program is
// safe for concurrent use.
package predicate

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/mintmark/mintmark/internal/health"
)

// ErrExpression reports an expression that cannot be used.
var ErrExpression = errors.New("expression")

// MaxCost bounds one evaluation, in CEL's units: about one for each step.
const MaxCost = 2000

// maxText bounds the variables' sizes in the estimate of cost, in bytes; longer
// values are cut when an expression is run.
const maxText = 512

// Variable is what an expression may look at.
type Variable struct {
	Name, Type, About string
}

// Variables lists them. The caller may change what it gets.
func Variables() []Variable {
	return []Variable{
		{"status", "int", "status that the client got; 0: none"},
		{"upstream_status", "int", "status that the release answered; 0: it was not asked, or did not answer"},
		{"code", "string", "why the request was refused; empty when it was admitted"},
		{"route", "string", "service/route"},
		{"method", "string", "the request's method"},
		{"release", "string", "name of the release that served; empty when none did"},
		{"client", "string", "the token's client; empty without a token"},
		{"kind", "string", "of token: jwt, opaque, apikey, foreign; empty without a token"},
		{"latency_ms", "double", "from the request's arrival until its answer was sent, in milliseconds"},
	}
}

// Program is a compiled expression.
type Program struct{ run cel.Program }

// Compile compiles an expression. The error says what is wrong at which line and
// column.
func Compile(expression string) (*Program, error) {
	if len(expression) > health.MaxExpression {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrExpression, len(expression), health.MaxExpression)
	}
	options := []cel.EnvOption{cel.ParserExpressionSizeLimit(health.MaxExpression), cel.ParserRecursionLimit(50)}
	for _, v := range Variables() {
		t := map[string]*cel.Type{"int": cel.IntType, "string": cel.StringType, "double": cel.DoubleType}[v.Type]
		options = append(options, cel.Variable(v.Name, t))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make the expressions' environment: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, fmt.Errorf("%w: %s", ErrExpression, faults(issues))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("%w: it is of type %s: want bool", ErrExpression, ast.OutputType())
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("%w: its cost can't be told: %w", ErrExpression, err)
	}
	if cost.Max > MaxCost {
		return nil, fmt.Errorf("%w: may cost %d steps for one request, at most %d", ErrExpression, cost.Max, MaxCost)
	}
	run, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	return &Program{run: run}, nil
}

// faults says each fault on a line of its own, where and what.
func faults(issues *cel.Issues) string {
	var b strings.Builder
	for i, e := range issues.Errors() {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "line %d column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message)
	}
	return b.String()
}

// Holds runs the expression over a request. One that fails in running (it divides
// by zero, or costs too much) does not hold.
func (p *Program) Holds(o *health.Observed) bool {
	v, _, err := p.run.Eval(&activation{o})
	return err == nil && v == types.True
}
