package oauth

import (
	"errors"
	"strings"

	"github.com/mintmark/mintmark/internal/jose"
)

// AuthorizationServer is the metadata document of RFC 8414 §2 and OpenID Connect
// Discovery §3, with the members of RFC 8628, 8705, 9126, 9207, 9449 and of
// global token revocation. Empty members are left out.
type AuthorizationServer struct {
	Issuer                 string   `json:"issuer"`
	AuthorizationEndpoint  string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint          string   `json:"token_endpoint,omitempty"`
	JWKSURI                string   `json:"jwks_uri,omitempty"`
	UserinfoEndpoint       string   `json:"userinfo_endpoint,omitempty"`
	IntrospectionEndpoint  string   `json:"introspection_endpoint,omitempty"`
	RevocationEndpoint     string   `json:"revocation_endpoint,omitempty"`
	GlobalRevocation       string   `json:"global_token_revocation_endpoint,omitempty"`
	PAREndpoint            string   `json:"pushed_authorization_request_endpoint,omitempty"`
	DeviceEndpoint         string   `json:"device_authorization_endpoint,omitempty"`
	RegistrationEndpoint   string   `json:"registration_endpoint,omitempty"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	ResponseTypes          []string `json:"response_types_supported,omitempty"`
	ResponseModes          []string `json:"response_modes_supported,omitempty"`
	GrantTypes             []string `json:"grant_types_supported,omitempty"`
	SubjectTypes           []string `json:"subject_types_supported,omitempty"`
	IDTokenAlgs            []string `json:"id_token_signing_alg_values_supported,omitempty"`
	TokenAuthMethods       []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	TokenAuthAlgs          []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectAuthMethods  []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	RevocationAuthMethods  []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	CodeChallengeMethods   []string `json:"code_challenge_methods_supported,omitempty"`
	DPoPAlgs               []string `json:"dpop_signing_alg_values_supported,omitempty"`
	Claims                 []string `json:"claims_supported,omitempty"`
	PromptValues           []string `json:"prompt_values_supported,omitempty"`
	IssInResponse          bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	RequirePAR             bool     `json:"require_pushed_authorization_requests,omitempty"`
	CertificateBoundTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

// ProtectedResource is the metadata document of RFC 9728 §2.
type ProtectedResource struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers,omitempty"`
	Scopes                 []string `json:"scopes_supported,omitempty"`
	BearerMethods          []string `json:"bearer_methods_supported,omitempty"`
	Name                   string   `json:"resource_name,omitempty"`
	CertificateBoundTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	DPoPAlgs               []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPRequired           bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

// ErrMetadata: another server's metadata is not a usable document.
var ErrMetadata = errors.New("oauth: malformed metadata")

// Discovered is what we use of another server's metadata.
type Discovered struct {
	Issuer, JWKSURI, AuthorizationEndpoint, TokenEndpoint, IntrospectionEndpoint string
}

// ParseMetadata reads another server's metadata in the strict reading of package
// jose: names compared exactly, no member twice. Whether issuer is the one asked
// for (RFC 8414 §3.3) is checked here too: it must equal issuer.
func ParseMetadata(text []byte, issuer string) (Discovered, error) {
	var d Discovered
	s := jose.Scan(string(text))
	ok := true
	for s.Next() {
		into := map[string]*string{
			"issuer": &d.Issuer, "jwks_uri": &d.JWKSURI, "authorization_endpoint": &d.AuthorizationEndpoint,
			"token_endpoint": &d.TokenEndpoint, "introspection_endpoint": &d.IntrospectionEndpoint,
		}[s.Name()]
		if into == nil {
			continue
		}
		var isText bool
		*into, isText = s.Value().Str()
		ok = ok && isText
	}
	if s.Err() != nil || !ok || d.Issuer == "" || d.Issuer != issuer {
		return Discovered{}, ErrMetadata
	}
	return d, nil
}

// MetadataPaths returns where an issuer's metadata may be, in the order to try:
// OpenID Connect Discovery §4 appends, RFC 8414 §3.1 inserts before the path.
func MetadataPaths(origin, path string) []string {
	path = strings.TrimSuffix(path, "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}
}
