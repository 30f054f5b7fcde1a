package authority

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// pageForm is what every form carries, and where the browser may post it.
type pageForm struct {
	Tx, CSRF string
	target   string
}

type signInPage struct {
	pageForm
	Client, Name, Problem string
	Providers             []provider
}

type provider struct{ Name, Title string }

type consentPage struct {
	pageForm
	Client, User string
	Device       bool
	Scopes       []scopeLine
	Targets      []string
}

type scopeLine struct{ Name, Text string }

type devicePage struct{ Code, Problem string }

type problemPage struct{ Title, Detail string }

type donePage struct{ Title, Detail string }

// scopeText says what an OpenID scope means; other scopes speak for themselves.
var scopeText = map[string]string{
	"openid":         "Know who you are",
	"profile":        "See your name and profile",
	"email":          "See your email address",
	"address":        "See your postal address",
	"phone":          "See your phone number",
	"offline_access": "Stay connected when you are away",
}

func (a *Authority) formOf(tx *transaction) pageForm {
	return pageForm{Tx: tx.value, CSRF: a.csrf(tx), target: tx.formTarget()}
}

func (f pageForm) formTarget() string { return f.target }

// page renders a page under a policy that allows our one stylesheet, no script,
// no frame, and forms to ourselves and the client alone.
func (a *Authority) page(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	view := struct {
		Brand, Base string
		Page        any
	}{a.cfg.Name, a.path, data}
	if err := pages.ExecuteTemplate(&b, name+".html", view); err != nil {
		a.d.Log.Error("render page", "page", name, "error", err)
		http.Error(w, "server_error", http.StatusInternalServerError)
		return
	}
	action := "'self'"
	if f, ok := data.(interface{ formTarget() string }); ok && f.formTarget() != "" {
		action += " " + f.formTarget()
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; style-src 'self'; form-action %s; frame-ancestors 'none'; base-uri 'none'", action))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser is gone: nobody to tell
}

// pageError tells a person what went wrong, without a cause from inside.
func (a *Authority) pageError(w http.ResponseWriter, r *http.Request, err error) {
	ref := asRefusal(err)
	a.d.Metrics.Refused(r.URL.Path, ref.Code, "")
	status := ref.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	p := problemPage{Title: "That didn’t work", Detail: ref.Detail}
	if status >= 500 {
		a.d.Log.WarnContext(r.Context(), "page failed", "page", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "2")
		p = problemPage{Title: "Not right now", Detail: "Signing in is briefly unavailable. Nothing was lost; try again in a moment."}
	}
	a.page(w, status, "problem", p)
}

func (a *Authority) serveStyle(w http.ResponseWriter, _ *http.Request) {
	b, err := pageFiles.ReadFile("pages/signin.css")
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b) // the browser is gone: nobody to tell
}
