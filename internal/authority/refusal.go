package authority

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mintmark/mintmark/internal/ledger"
)

// refusal is a protocol error: what a client is answered (RFC 6749 §5.2). It
// never tells a cause from inside.
type refusal struct {
	Code   string `json:"error"`
	Detail string `json:"error_description,omitempty"`
	status int    // 0 is 400
}

func (r *refusal) Error() string { return r.Code + ": " + r.Detail }

func refuse(code, detail string) error { return &refusal{Code: code, Detail: detail} }

func refuseWith(status int, code, detail string) error {
	return &refusal{Code: code, Detail: detail, status: status}
}

// errClient is what every failed client authentication is answered with: which
// check failed is not told.
var errClient = refuseWith(http.StatusUnauthorized, "invalid_client", "client authentication failed")

// asRefusal maps any error to what a client is told.
func asRefusal(err error) *refusal {
	var r *refusal
	var used *ledger.UsedError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &used) && used.Space == spaceAssertion:
		return errClient.(*refusal) // RFC 7523 §3.2
	case errors.As(err, &used) && used.Space == spaceDPoP:
		return &refusal{Code: "invalid_dpop_proof", Detail: "the DPoP proof was used before"}
	case errors.Is(err, ledger.ErrUsed):
		return &refusal{Code: "invalid_request", Detail: "a single-use proof or assertion was used before"}
	case errors.Is(err, ledger.ErrUnavailable), errors.Is(err, ledger.ErrStale), errors.Is(err, ledger.ErrConflict),
		errors.Is(err, ErrNoKey), errors.Is(err, ErrNotReady), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &refusal{Code: "temporarily_unavailable", Detail: "try again shortly", status: http.StatusServiceUnavailable}
	}
	return &refusal{Code: "server_error", Detail: "the request could not be completed", status: http.StatusInternalServerError}
}

// answerError writes a refusal at a JSON endpoint.
func (a *Authority) answerError(w http.ResponseWriter, r *http.Request, err error) {
	ref := asRefusal(err)
	status := ref.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if status >= 500 {
		a.d.Log.WarnContext(r.Context(), "request failed", "endpoint", r.URL.Path, "code", ref.Code, "error", err)
	}
	a.d.Metrics.Refused(r.URL.Path, ref.Code, "")
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		if ref.Code == "invalid_client" {
			h.Set("WWW-Authenticate", `Basic realm="`+a.cfg.Issuer+`", charset="UTF-8"`)
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", "30")
	}
	writeJSON(w, status, ref)
}

// writeJSON writes a JSON answer that nobody may keep (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "server_error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone: nobody to tell
}
