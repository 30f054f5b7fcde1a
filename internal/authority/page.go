package authority

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/login"
)

func (a *Authority) formOf(tx *transaction) login.Form {
	return login.Form{Tx: tx.value, CSRF: a.csrf(tx), Target: tx.formTarget()}
}

func (a *Authority) page(w http.ResponseWriter, status int, p login.Page) {
	if err := login.Write(w, status, a.cfg.Name, a.path, p); err != nil {
		a.d.Log.Error("page", "error", err)
	}
}

// pageError tells a person what went wrong, without a cause from inside.
func (a *Authority) pageError(w http.ResponseWriter, r *http.Request, err error) {
	ref := asRefusal(err)
	a.d.Metrics.Refused(r.URL.Path, ref.Code, "")
	status := ref.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	p := login.Problem{Title: "That didn’t work", Detail: ref.Detail}
	if status >= 500 {
		a.d.Log.WarnContext(r.Context(), "page failed", "page", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "2")
		p = login.Problem{Title: "Not right now", Detail: "Signing in is briefly unavailable. Nothing was lost; try again in a moment."}
	}
	a.page(w, status, p)
}
