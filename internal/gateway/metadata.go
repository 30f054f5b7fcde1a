package gateway

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

const metadataPath = "/.well-known/oauth-protected-resource"

func isMetadata(path string) bool {
	return strings.HasPrefix(path, metadataPath) && (len(path) == len(metadataPath) || path[len(metadataPath)] == '/')
}

// resource is the metadata of a protected resource (RFC 9728 §2).
type resource struct {
	Resource   string   `json:"resource"`
	Servers    []string `json:"authorization_servers,omitempty"`
	Scopes     []string `json:"scopes_supported,omitempty"`
	Methods    []string `json:"bearer_methods_supported"`
	DPoPAlgs   []string `json:"dpop_signing_alg_values_supported"`
	DPoP       bool     `json:"dpop_bound_access_tokens_required,omitempty"`
	MTLSTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

// metadata answers which authorization servers and scopes the services under this
// host go by. It needs no token and says nothing that a challenge would not.
func (x *exchange) metadata(path string) {
	snap := x.g.cfg.State.Current()
	m := resource{
		Resource: x.facts.Scheme + "://" + x.r.Host + strings.TrimPrefix(path, metadataPath),
		Methods:  []string{"header"},
		DPoPAlgs: []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"},
	}
	var servers, scopes []string
	found := false
	for _, s := range snap.Table.Services() {
		if !servesHost(s.Hosts, x.r.Host) {
			continue
		}
		found = true
		if s.OwnIssuer {
			servers = append(servers, snap.Table.Authority())
		}
		for _, name := range s.Issuers {
			if e := issuerNamed(snap.Table, name); e != nil {
				servers = append(servers, e.Issuer.Issuer)
			}
		}
		for i := range s.Routes {
			scopes = append(scopes, s.Routes[i].Scopes...)
			m.MTLSTokens = m.MTLSTokens || s.Routes[i].Bound == "mtls"
		}
	}
	x.undecided(mintmark.CodeNone)
	if !found || x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.refuse(mintmark.CodeNoRoute)
		return
	}
	m.Servers, m.Scopes = mintmark.SortedSet(servers), mintmark.SortedSet(scopes)
	b, err := json.Marshal(m)
	if err != nil {
		x.refuse(mintmark.CodeStateUnknown)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "max-age=60")
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	x.w.Write(b)
}

func issuerNamed(t *epoch.Table, name string) *epoch.IssuerEntry {
	for _, i := range t.Issuers() {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// servesHost reports whether a service with these hosts serves a Host field.
func servesHost(hosts []string, host string) bool {
	if len(hosts) == 0 {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	for _, h := range hosts {
		if h == host || strings.HasPrefix(h, "*.") && strings.HasSuffix(host, h[1:]) && len(host) > len(h)-1 {
			return true
		}
	}
	return false
}
