package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/web"
)

// GlobalRevocation answers the authority's global token revocation endpoint: POST
// {"sub_id":{…}} (RFC 9493) ends everything that the person has here. 204 only once
// that is durable, and as a rule in force at every gateway that answers within two
// seconds; 503 with Retry-After when it could not be written.
//
// The caller holds an access token for the admin API with one of the roles that may
// revoke. It may be called concurrently.
func GlobalRevocation(a Authority, c *control.Control, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
		defer cancel()
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			web.WriteProblem(w, r, web.Problem{Status: http.StatusMethodNotAllowed, Fix: "use POST"})
			return
		}
		// On this listener we are known by the issuer.
		t, err := a.A.Present(w, r, a.A.AdminAudience(), "")
		if err != nil {
			a.A.Challenge(w, r, err)
			return
		}
		caller := CallerOf(t)
		ctx = context.WithValue(ctx, callerKey{}, caller)
		if !holds(ctx, guards) {
			web.WriteProblem(w, r, web.Problem{Status: http.StatusForbidden, Code: "insufficient_scope", Title: "This token may not revoke", Fix: "use one with the scope admin:operator, admin:security or admin:admin"})
			return
		}
		var body struct {
			Subject control.SubjectID `json:"sub_id"`
		}
		if err := web.ReadJSON(w, r, 16<<10, &body); err != nil {
			web.WriteProblem(w, r, web.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Title: "The body can't be read", Detail: err.Error(), Fix: `send {"sub_id":{"format":"iss_sub","iss":…,"sub":…}}`})
			return
		}
		answerRevocation(w, r, c.RevokeSubject(ctx, caller.Actor, body.Subject, "global token revocation"), log)
	})
}

func answerRevocation(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	p := web.Problem{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Title: "Nothing is known to be revoked", Fix: "send it again", RetryAfter: time.Second}
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, control.ErrInvalid):
		p = web.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Title: "The subject identifier makes no sense", Detail: saying(err, control.ErrInvalid)}
	case errors.Is(err, control.ErrNotFound):
		p = web.Problem{Status: http.StatusNotFound, Code: "not_found", Title: "The subject is not known here", Detail: saying(err, control.ErrNotFound)}
	case errors.Is(err, control.ErrPending):
		p = web.Problem{Status: http.StatusForbidden, Code: "access_denied", Title: "A second person must approve it; nothing is revoked yet", Detail: saying(err, control.ErrPending), Fix: "let an operator approve it: mintmark revocation pending"}
	default:
		log.ErrorContext(r.Context(), "global token revocation", "error", err)
	}
	web.WriteProblem(w, r, p)
}
