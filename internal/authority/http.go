package authority

import (
	"context"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/login"
)

// Paths of the endpoints, below the issuer's path.
const (
	pathAuthorize  = "/authorize"
	pathToken      = "/token"
	pathPAR        = "/par"
	pathDeviceAuth = "/device_authorization"
	pathDevice     = "/device"
	pathIntrospect = "/introspect"
	pathRevoke     = "/revoke"
	pathUserinfo   = "/userinfo"
	pathJWKS       = "/jwks"
	pathSignIn     = "/signin"
	pathProvider   = "/signin/provider"
	pathCallback   = "/signin/callback"
	pathConsent    = "/consent"
	pathStyle      = "/signin.css"
)

// requestTime bounds one request's work.
const requestTime = 15 * time.Second

// Handler answers every endpoint of the authority. The paths of RFC 8414 and
// OpenID discovery are served both in front of and behind the issuer's path.
func (a *Authority) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, path string, h http.HandlerFunc) { mux.HandleFunc(pattern+" "+a.path+path, h) }
	for _, p := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		mux.HandleFunc("GET "+a.path+p, a.serveMetadata)
		if a.path != "" {
			mux.HandleFunc("GET "+p+a.path, a.serveMetadata)
		}
	}
	handle("GET", pathJWKS, a.serveJWKS)
	handle("POST", pathToken, a.serveToken)
	handle("POST", pathPAR, a.servePAR)
	handle("POST", pathDeviceAuth, a.serveDeviceAuthorization)
	handle("POST", pathIntrospect, a.serveIntrospect)
	handle("POST", pathRevoke, a.serveRevoke)
	handle("GET", pathUserinfo, a.serveUserinfo)
	handle("POST", pathUserinfo, a.serveUserinfo)

	// Pages that people post to refuse other origins before anything is read.
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.page(w, http.StatusForbidden, login.Problem{Title: "Not from here", Detail: "This form was sent from another site. Go back to the application and start again."})
	}))
	page := func(pattern, path string, h http.HandlerFunc) {
		mux.Handle(pattern+" "+a.path+path, origin.Handler(h))
	}
	handle("GET", pathAuthorize, a.serveAuthorize)
	handle("POST", pathAuthorize, a.serveAuthorize) // other sites may post here (OpenID Core §3.1.2.1)
	page("GET", pathSignIn, a.serveSignIn)
	page("POST", pathSignIn, a.servePassword)
	page("GET", pathProvider, a.serveProvider)
	page("GET", pathCallback, a.serveCallback)
	page("GET", pathConsent, a.serveConsent)
	page("POST", pathConsent, a.serveDecision)
	page("GET", pathDevice, a.serveDevice)
	page("POST", pathDevice, a.serveUserCode)
	handle("GET", pathStyle, login.Style)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// url returns the absolute form of a path.
func (a *Authority) url(path string) string { return a.cfg.Issuer + path }

// address is what attempts from one place are counted under: the client's address
// as far as trusted proxies tell it, of IPv6 the network, because one host has all
// of a /64.
func (a *Authority) address(r *http.Request) string {
	return forwarded.Place(a.cfg.Trusted.Source(forwarded.Peer(r.RemoteAddr), r.Header).Client)
}
