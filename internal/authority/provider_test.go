package authority_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark/internal/authority"
)

// TestUpstreamProvider signs in at one authority through another.
func TestUpstreamProvider(t *testing.T) {
	up := newWorld(t)
	w := newWorld(t, func(c *authority.Config, _ *authority.Deps) {
		c.Upstreams = []authority.Upstream{{Name: "corp", Title: "Corp", Issuer: up.server.URL, ClientID: "mintmark"}}
	})
	up.client(authority.Client{
		ID: "mintmark", AuthMethod: authority.AuthNone, Scopes: []string{"openid"}, FirstParty: true,
		RedirectURIs: []string{w.server.URL + "/signin/callback"},
	})
	w.client(webApp())
	jar, err := cookiejar.New(nil)
	must(t, err)
	var page *url.URL
	c := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		page = r.URL
		return nil
	}}
	res, err := c.Get(w.server.URL + "/authorize?" + authorizeQuery().Encode())
	must(t, err)
	_ = res.Body.Close()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	atProvider, err := w.browse(c, w.server.URL+"/signin/provider?"+url.Values{"tx": {page.Query().Get("tx")}, "name": {"corp"}}.Encode(), "", "")
	must(t, err)
	back, err := up.browse(c, atProvider.String(), "ada", "correct horse")
	must(t, err)
	forged := *back
	q := forged.Query()
	q.Set("iss", "https://else.example")
	forged.RawQuery = q.Encode()
	if to, err := w.browse(c, forged.String(), "", ""); err == nil {
		t.Errorf("an answer of another issuer was taken: %v", to)
	}
	to, err := w.browse(c, back.String(), "", "")
	must(t, err)
	status, ans := w.post("/token", redeem(to.Query().Get("code")))
	if status != http.StatusOK {
		t.Fatalf("redeem: %d %v", status, ans)
	}
	req, err := http.NewRequest(http.MethodGet, w.server.URL+"/", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+ans["access_token"].(string))
	tok, err := w.auth.Present(nil, req, "", "")
	must(t, err)
	if tok.Subject != "corp:ada" || tok.ACR != "provider" {
		t.Errorf("token of %q by %q", tok.Subject, tok.ACR)
	}
}
