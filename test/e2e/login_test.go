package e2e

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

var providerLink = regexp.MustCompile(`href="([^"]*/signin/provider[^"]*)"`)

// TestSignInAtAProvider has a person sign in at oidc-provider on the way to our
// client, twice: the second time the account is there already.
func TestSignInAtAProvider(t *testing.T) {
	t.Parallel()
	npm(t)
	cmd := exec.Command("node", "provider.mjs")
	cmd.Dir, cmd.Stderr = "js", os.Stderr
	in, err := cmd.StdinPipe() // it ends when this closes
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	said := func(prefix string) string {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return lines.Text()
			}
		}
		t.Fatalf("the provider never said %s", prefix)
		return ""
	}
	provider := said("http://")
	secret := filepath.Join(t.TempDir(), "provider-secret")
	write(t, secret, "provider-secret\n")
	w := newWorld(t, option{config: fmt.Sprintf(`login:
- {name: Acme, issuer: "%s", client_id: mintmark, client_secret: {file: %s}, scopes: [email]}
`, provider, secret)})
	if _, err := fmt.Fprintln(in, w.issuer+"/signin/callback"); err != nil {
		t.Fatal(err)
	}
	said("ready")

	signIn := func(name string) tokens {
		t.Helper()
		verifier := oauth2.GenerateVerifier()
		b := newBrowser(t, nil)
		b.fields["login"], b.fields["password"] = name, "anything"
		b.open(authorizeURL(w.oauth("web", "openid", "orders.read"), verifier, "resource", audience))
		link := providerLink.FindStringSubmatch(b.page)
		if link == nil {
			t.Fatalf("the sign-in page does not offer the provider: %s", b.page)
		}
		to, err := b.at.Parse(strings.ReplaceAll(link[1], "&amp;", "&"))
		if err != nil {
			t.Fatal(err)
		}
		q := b.open(to.String())
		if q == nil {
			q = b.through()
		}
		got := w.token(w.client, url.Values{
			"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {redirect}, "code_verifier": {verifier},
		}, "web", "")
		if got.Access == "" {
			t.Fatalf("no tokens: %s %s (%s)", got.Error, got.Description, q.Encode())
		}
		return got
	}
	first := signIn("carol")
	a := w.call(first.Access)
	w.want("carol's token", a, 200, "")
	if sub := seen(t, a).Get("Mintmark-Token-Subject"); sub != "acme:carol" {
		t.Errorf("the token speaks for %q", sub)
	}
	if again := claims(t, signIn("carol").Access)["sub"]; again != "acme:carol" {
		t.Errorf("the second time carol is %v", again)
	}
	if other := claims(t, signIn("dave").Access)["sub"]; other != "acme:dave" {
		t.Errorf("dave is %v", other)
	}
	// What is revoked for one is not for the other.
	w.revoke("subject=acme:carol")
	w.want("carol's token after the revocation", w.call(first.Access), 401, "token_revoked")
}
