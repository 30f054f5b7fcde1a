package adminapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

// problem is the one place where errors become problems. What is not known to it
// is logged and answered without its cause.
func (s *Server) problem(err error) *api.Problem {
	var p *api.Problem
	var errs policy.Errors
	var confirm *control.ConfirmError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &errs):
		p = api.NewProblem(api.CodeInvalidFile, "nothing was changed", "mend what is listed and apply again")
		for _, e := range errs {
			p.Errors = append(p.Errors, api.FieldError{Location: e.Location(), Message: e.What(), Fix: e.Fix})
		}
		return p
	case errors.As(err, &confirm):
		p = api.NewProblem(api.CodeConfirm, confirm.Error(), "send it again with confirm: "+confirm.Text)
		p.Confirm = confirm.Text
		return p
	case errors.Is(err, fleet.ErrUnknown):
		return api.NewProblem(api.CodeOutcome, "whether it happened is not known", "call again with the same idempotency key")
	}
	for _, m := range mapped {
		if errors.Is(err, m.err) {
			return api.NewProblem(m.code, saying(err, m.err), m.fix)
		}
	}
	if errors.Is(err, ledger.ErrUnavailable) {
		s.cfg.Log.Error("ledger unavailable", "error", err)
		return api.NewProblem(api.CodeUnavailable, "the ledger can't be written or read; nothing is known to have changed", "look at control's log and its disk, then call again with the same idempotency key")
	}
	s.cfg.Log.Error("admin request failed", "error", err)
	return api.NewProblem(api.CodeInternal, "the request failed", "see control's log")
}

// saying is an error's text for the caller: what a package's name and the kind of
// error say is said by the problem's code already.
func saying(err, kind error) string {
	text := err.Error()
	if rest, ok := strings.CutPrefix(text, kind.Error()+": "); ok {
		return rest
	}
	if rest, ok := strings.CutSuffix(text, kind.Error()); ok {
		_, said, _ := strings.Cut(kind.Error(), ": ") // without the package's name
		return rest + said
	}
	return text
}

// mapped are the errors whose text is meant for the caller.
var mapped = []struct {
	err  error
	code api.Code
	fix  string
}{
	{control.ErrInvalid, api.CodeInvalid, ""},
	{rollout.ErrInvalid, api.CodeInvalid, ""},
	{control.ErrNotFound, api.CodeNotFound, ""},
	{control.ErrForbidden, api.CodeForbidden, "ask an admin"},
	{control.ErrTooMany, api.CodePrecondition, "nothing was changed; look at it with a dry run"},
	{control.ErrDecided, api.CodePrecondition, "see mintmark revocation pending"},
	{control.ErrNotSafe, api.CodeNotSafe, "see mintmark rollout plan; go on all the same with unsafe"},
	{rollout.ErrIllegal, api.CodePrecondition, ""},
	{rollout.ErrRole, api.CodeForbidden, "ask somebody who may: mintmark rollout status names the roles"},
	{control.ErrConflict, api.CodeConflict, "look at what changed and call again"},
	{fleet.ErrRefused, api.CodeRefused, "nothing was changed; mend what the gateway says"},
	{fleet.ErrPart, api.CodeInvalid, "nothing was changed"},
	{fleet.ErrBehind, api.CodeUnavailable, "restore a newer ledger"},
	{fleet.ErrJoin, api.CodeUnauthorized, "ask for a new join token: mintmark gateway join-token"},
	{fleet.ErrMember, api.CodeNotFound, ""},
	{ledger.ErrConflict, api.CodeConflict, "look at what changed and call again"},
	{ledger.ErrNotFound, api.CodeNotFound, ""},
}

// plainProblem turns the framework's own errors (a body that does not fit, a
// malformed parameter) into ours.
func plainProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := api.CodeInvalid
	switch m.Status {
	case http.StatusNotFound:
		code = api.CodeNotFound
	case http.StatusRequestEntityTooLarge:
		code = api.CodeTooLarge
	case http.StatusInternalServerError:
		code = api.CodeInternal
	}
	p := api.NewProblem(code, m.Detail, "see /v1/openapi.json")
	p.Status = m.Status
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, api.FieldError{Location: e.Location, Message: e.Message})
	}
	return p, nil
}

// write answers a problem outside the framework.
func write(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may be gone
}

func short(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
