package authority

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/jose"
)

// serveMetadata answers RFC 8414 and OpenID Connect Discovery 1.0 with one
// document.
func (a *Authority) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	algs := a.signingAlgs()
	methods := []string{AuthBasic, AuthPost, AuthPrivateKeyJWT, AuthTLS, AuthSelfSigned, AuthNone}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                a.cfg.Issuer,
		"authorization_endpoint":                a.url(pathAuthorize),
		"token_endpoint":                        a.url(pathToken),
		"jwks_uri":                              a.url(pathJWKS),
		"userinfo_endpoint":                     a.url(pathUserinfo),
		"introspection_endpoint":                a.url(pathIntrospect),
		"revocation_endpoint":                   a.url(pathRevoke),
		"pushed_authorization_request_endpoint": a.url(pathPAR),
		"device_authorization_endpoint":         a.url(pathDeviceAuth),
		"global_token_revocation_endpoint":      a.url(pathGlobal),
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 []string{GrantCode, GrantClient, GrantRefresh, GrantDevice, GrantExchange, GrantJWT},
		"code_challenge_methods_supported":      []string{"S256"},
		"scopes_supported":                      openIDScopes,
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algs,
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "name", "preferred_username", "email", "email_verified"},
		"prompt_values_supported":               []string{"none", "login", "consent", "select_account"},
		"acr_values_supported":                  []string{"password", "provider"},

		"token_endpoint_auth_methods_supported":                    methods,
		"token_endpoint_auth_signing_alg_values_supported":         jose.AsymmetricNames(),
		"introspection_endpoint_auth_methods_supported":            methods[:5],
		"introspection_endpoint_auth_signing_alg_values_supported": jose.AsymmetricNames(),
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    jose.AsymmetricNames(),
		"dpop_signing_alg_values_supported":                        jose.AsymmetricNames(),
		"authorization_response_iss_parameter_supported":           true,
		"tls_client_certificate_bound_access_tokens":               true,
		"request_parameter_supported":                              false,
		"request_uri_parameter_supported":                          true,
		"require_request_uri_registration":                         false,
		"claims_parameter_supported":                               false,
	})
}

func (a *Authority) signingAlgs() []string {
	var out []string
	for _, k := range a.keys.list() {
		if k.State != KeyPending && !hasScope(out, k.Alg) {
			out = append(out, k.Alg)
		}
	}
	if out == nil {
		out = a.cfg.Algs
	}
	return out
}

// serveJWKS publishes our keys, pending ones too: others who cache the set should
// know a key before it signs.
func (a *Authority) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	var keys []*jose.Key
	for _, k := range a.keys.list() {
		keys = append(keys, k.signer.Key())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(jose.PrintSet(keys)) // the asker is gone: nobody to tell
}
