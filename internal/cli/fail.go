package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
)

// exitCode is an outcome that is not an error but not 0 either: the result has
// been printed.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usage is a mistake in the command line: exit 2.
func usage(what, fix string) error { return api.NewProblem(api.CodeInvalid, what, fix) }

// failure is how an error is told: what happened, how to mend it.
type failure struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Fix       string `json:"fix,omitempty"`
	Doc       string `json:"doc,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Key       string `json:"idempotency_key,omitempty"`
	Exit      int    `json:"exit"`
}

// fail tells err on standard error and returns its exit code.
func (a *app) fail(ctx context.Context, err error) int {
	f := describe(ctx, err)
	if f.Exit == api.ExitUnknown {
		f.Key = a.key
		f.Fix = "the change may have been made; send it again with --idempotency-key " + a.key
	}
	if first(a.output, a.getenv("MINTMARK_OUTPUT")) == "json" {
		b, _ := json.Marshal(f) // strings and a number: cannot fail
		fmt.Fprintf(a.Stderr, "%s\n", b)
		return f.Exit
	}
	fmt.Fprintf(a.Stderr, "%s %s\n", a.paint(red, "error:"), f.Message)
	if f.Fix != "" {
		fmt.Fprintf(a.Stderr, "  fix: %s\n", f.Fix)
	}
	if f.RequestID != "" {
		fmt.Fprintf(a.Stderr, "  request: %s\n", f.RequestID)
	}
	if f.Doc != "" {
		fmt.Fprintf(a.Stderr, "  more: %s\n", f.Doc)
	}
	return f.Exit
}

func describe(ctx context.Context, err error) failure {
	var p *api.Problem
	var mistakes config.Errors
	switch {
	case errors.As(err, &p):
		f := failure{Code: string(p.Code), Message: p.Error(), Fix: p.Fix, RequestID: p.RequestID, Exit: api.Exit(err)}
		if _, ok := api.Explain(f.Code); ok && p.Code != api.CodeInvalid {
			f.Doc = "mintmark explain " + f.Code
		}
		if p.Code == api.CodeInvalid || p.Code == api.CodeNotFound {
			f.Message = strings.TrimPrefix(f.Message, p.Title+": ") // the rest says it
		}
		return f
	case errors.As(err, &mistakes):
		return failure{Code: string(api.CodeInvalidFile), Message: "the configuration is not valid, nothing was started\n  " +
			strings.ReplaceAll(mistakes.Error(), "\n", "\n  "), Exit: api.ExitUsage}
	case strings.HasPrefix(err.Error(), "read configuration: "):
		return failure{Code: string(api.CodeInvalidFile), Message: err.Error(), Fix: "name the right file with --config, or make it readable", Exit: api.ExitUsage}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return failure{Code: string(api.CodeInterrupted), Message: "interrupted", Exit: api.ExitInterrupted}
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "accepts "), strings.HasPrefix(err.Error(), "requires "), strings.HasPrefix(err.Error(), "required flag"):
		// cobra's own errors have no type
		return failure{Code: string(api.CodeInvalid), Message: err.Error(), Fix: "see mintmark --help", Exit: api.ExitUsage}
	}
	for _, k := range knownFailures {
		if errors.Is(err, k.is) {
			return failure{Code: k.code, Message: err.Error(), Fix: k.fix, Exit: api.ExitFailed}
		}
	}
	return failure{Code: "failed", Message: err.Error(), Exit: api.ExitFailed}
}

// knownFailures are causes that stop a process and that a person can mend.
var knownFailures = []struct {
	is        error
	code, fix string
}{
	{syscall.EADDRINUSE, "address_in_use", "stop the other program, or choose another address under listen: in mintmark.yaml"},
	{syscall.EACCES, "permission_denied", "give this user the right, or name another path or a port above 1023"},
	{syscall.ENOSPC, "disk_full", "make room; nothing that was acknowledged is lost"},
	{keyring.ErrMissing, "secret_missing", "mintmark init makes a new data directory; an existing one needs the secrets it was made with"},
	{keyring.ErrWrong, "secret_wrong", "name the secrets that this data was made with under secrets: in mintmark.yaml"},
	{ledger.ErrNewer, "data_newer", "run the version of mintmark that wrote this data, or a newer one"},
}

func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return fmt.Sprintf("%q", s)
}
