package login

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// Page is one that a person can be shown.
type Page interface {
	file() string
	// leads is where the page's form may lead in the end, besides to ourselves;
	// empty is nowhere.
	leads() string
}

// Form is what every form carries, and where the browser may be sent by it.
type Form struct {
	Tx, CSRF string
	Target   string // scheme://host or scheme: of the client
}

func (f Form) leads() string { return f.Target }

// SignIn asks who somebody is.
type SignIn struct {
	Form
	Client, Name, Problem string
	Providers             []Choice
}

func (SignIn) file() string { return "signin.html" }

// Choice is a provider to sign in with.
type Choice struct{ Name, Title string }

// Consent asks whether a client may.
type Consent struct {
	Form
	Client, User string
	Device       bool
	Scopes       []Scope
	Targets      []string
}

func (Consent) file() string { return "consent.html" }

// Scope is one line of what is asked for.
type Scope struct{ Name, Text string }

// ScopeOf explains an OpenID scope; others speak for themselves.
func ScopeOf(name string) Scope { return Scope{name, scopeText[name]} }

var scopeText = map[string]string{
	"openid":         "Know who you are",
	"profile":        "See your name and profile",
	"email":          "See your email address",
	"address":        "See your postal address",
	"phone":          "See your phone number",
	"offline_access": "Stay connected when you are away",
}

// Device asks for the code that a device shows.
type Device struct{ Code, Problem string }

func (Device) file() string  { return "device.html" }
func (Device) leads() string { return "" }

// Problem says what went wrong, Done that there is nothing more to do.
type (
	Problem struct{ Title, Detail string }
	Done    struct{ Title, Detail string }
)

func (Problem) file() string  { return "problem.html" }
func (Problem) leads() string { return "" }
func (Done) file() string     { return "done.html" }
func (Done) leads() string    { return "" }

// Write renders a page under a policy that allows our one stylesheet, no script,
// no frame, and forms to ourselves and the client alone. brand is shown on top;
// base is the path that the pages are served below.
func Write(w http.ResponseWriter, status int, brand, base string, p Page) error {
	var b bytes.Buffer
	view := struct {
		Brand, Base string
		Page        any
	}{brand, base, p}
	if err := pages.ExecuteTemplate(&b, p.file(), view); err != nil {
		http.Error(w, "server_error", http.StatusInternalServerError)
		return fmt.Errorf("render %s: %w", p.file(), err)
	}
	action := "'self'"
	if t := p.leads(); t != "" {
		action += " " + t
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
	return nil
}

// Style serves the stylesheet.
func Style(w http.ResponseWriter, _ *http.Request) {
	b, err := files.ReadFile("pages/signin.css")
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b) // the browser is gone: nobody to tell
}
