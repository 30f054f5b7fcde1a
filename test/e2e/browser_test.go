package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// browser is a person at a browser, as far as these pages need one: it follows
// redirects, keeps cookies, and fills in forms.
type browser struct {
	t      *testing.T
	client *http.Client
	at     *url.URL
	page   string
	// fields are what the person types, by the input's name; unknown text inputs
	// stay empty.
	fields map[string]string
	// press is the value of the button to press where a form has several; empty is
	// the first.
	press string
	// stop is the address at which the browser's work is done.
	stop string
}

func newBrowser(t *testing.T, config *tls.Config) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{
		t: t, stop: redirect, fields: map[string]string{"username": user, "password": password},
		client: &http.Client{
			Jar: jar, Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: config},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// open follows an address until a page or the stop; the query of the latter is
// returned.
func (b *browser) open(target string) url.Values {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.follow(req)
}

func (b *browser) follow(req *http.Request) url.Values {
	b.t.Helper()
	for range 20 {
		res, err := b.client.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		to := res.Header.Get("Location")
		if to == "" {
			b.at, b.page = req.URL, string(body)
			if res.StatusCode >= 400 {
				b.t.Fatalf("browser: %s answered %d: %s", req.URL, res.StatusCode, body)
			}
			return nil
		}
		next, err := req.URL.Parse(to)
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.HasPrefix(next.String(), b.stop) {
			return next.Query()
		}
		if req, err = http.NewRequestWithContext(b.t.Context(), http.MethodGet, next.String(), nil); err != nil {
			b.t.Fatal(err)
		}
	}
	b.t.Fatal("browser: redirected in a circle")
	return nil
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*>.*?</form>`)
	inputTag = regexp.MustCompile(`<input[^>]*>`)
	pushTag  = regexp.MustCompile(`<button[^>]*>`)
)

func attribute(tag, name string) string {
	m := regexp.MustCompile(`\s` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// submit fills in the page's first form and sends it.
func (b *browser) submit() url.Values {
	b.t.Helper()
	form := formTag.FindString(b.page)
	if form == "" {
		b.t.Fatalf("browser: no form at %s: %s", b.at, b.page)
	}
	values := url.Values{}
	for _, tag := range inputTag.FindAllString(form, -1) {
		name := attribute(tag, "name")
		switch attribute(tag, "type") {
		case "hidden", "checkbox":
			values.Add(name, attribute(tag, "value"))
		default:
			v := attribute(tag, "value")
			if typed, ok := b.fields[name]; ok {
				v = typed
			}
			values.Set(name, v)
		}
	}
	for _, tag := range pushTag.FindAllString(form, -1) {
		name, value := attribute(tag, "name"), attribute(tag, "value")
		if name != "" && (b.press == "" || b.press == value) {
			values.Set(name, value)
			break
		}
	}
	to, err := b.at.Parse(attribute(form, "action"))
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", to.Scheme+"://"+to.Host)
	return b.follow(req)
}

// through submits form after form until the stop.
func (b *browser) through() url.Values {
	b.t.Helper()
	for range 6 {
		if q := b.submit(); q != nil {
			return q
		}
	}
	b.t.Fatalf("browser: no end of pages, now at %s: %s", b.at, b.page)
	return nil
}

// oauth is golang.org/x/oauth2 for a public client of the world.
func (w *world) oauth(client string, scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: client, ClientSecret: w.secrets[client], RedirectURL: redirect, Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: w.issuer + "/authorize", TokenURL: w.issuer + "/token", DeviceAuthURL: w.issuer + "/device_authorization",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// authorizeURL is where a person starts, by code and PKCE.
func authorizeURL(c *oauth2.Config, verifier string, more ...string) string {
	o := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	for i := 0; i+1 < len(more); i += 2 {
		o = append(o, oauth2.SetAuthURLParam(more[i], more[i+1]))
	}
	return c.AuthCodeURL("state-of-"+verifier[:8], o...)
}

// person signs the common user in with a public client and returns its tokens.
func (w *world) person(client string, header ...string) tokens {
	w.t.Helper()
	verifier := oauth2.GenerateVerifier()
	b := newBrowser(w.t, w.tls())
	start := authorizeURL(w.oauth(client, "openid", "offline_access", "orders.read"), verifier, "resource", audience)
	q := b.open(start)
	if q == nil {
		q = b.through()
	}
	if q.Get("code") == "" {
		w.t.Fatalf("no code: %s", q.Encode())
	}
	got := w.token(w.client, url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	}, client, w.secrets[client], header...)
	if got.Access == "" {
		w.t.Fatalf("no tokens for the code: %d %s %s", got.status, got.Error, got.Description)
	}
	return got
}

func (w *world) tls() *tls.Config {
	if w.pki == nil {
		return nil
	}
	return w.pki.client(nil)
}

// nonce is 128 random bits, as text.
func nonce() string { return fmt.Sprintf("%x", randomBytes(16)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
