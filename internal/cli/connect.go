package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/web"
)

// call is a command that asks control something.
type call struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	// flags declares the command's own flags.
	flags func(*cobra.Command)
	// complete names candidates for the next argument.
	complete func(context.Context, *api.Client) []string
	// endless, if not nil, says after the flags were read that no time-out bounds it.
	endless func() bool
	// forms are outputs of this command alone, beside those of every command.
	forms []string
	run   func(ctx context.Context, c *api.Client, args []string) (result, error)
}

// call makes the command: it connects, runs within the time-out and prints.
func (a *app) call(k call) *cobra.Command {
	cmd := &cobra.Command{Use: k.use, Short: k.short, Long: k.long, Example: k.example, Args: k.args}
	if k.flags != nil {
		k.flags(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := a.format(k.forms...); err != nil {
			return err
		}
		if a.key == "" {
			a.key = strings.ToLower(rand.Text())
		}
		// Control answers pending at the time-out itself; the slack lets it.
		ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout+5*time.Second)
		if k.endless != nil && k.endless() {
			cancel()
			ctx, cancel = context.WithCancel(cmd.Context())
		}
		defer cancel()
		ctx = api.WithKey(ctx, a.key)
		c, err := a.connect(ctx)
		if err != nil {
			return err
		}
		r, err := k.run(ctx, c, args)
		if err != nil {
			return err
		}
		return a.print(r)
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if k.complete == nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := a.connect(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return k.complete(ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// connect finds out which control to speak to, and as whom.
func (a *app) connect(ctx context.Context) (*api.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	hc, err := httpClient(t.CA)
	if err != nil {
		return nil, err
	}
	token := mintmark.NewSecret(a.getenv("MINTMARK_TOKEN"))
	if token.IsZero() && t.credential != nil {
		as := a.tokens(t.Server, t.credential, hc)
		if err := as.start(ctx); err != nil {
			return nil, err
		}
		hc = &http.Client{Transport: as, CheckRedirect: hc.CheckRedirect}
	}
	return api.NewClient(api.Config{Server: t.Server, Token: token, HTTP: hc, Agent: "mintmark/" + a.Version})
}

func httpClient(ca string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		pool, err := web.PoolFromFile(ca)
		if err != nil {
			return nil, usage(err.Error(), "name the PEM file of the authority that signed control's certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// Credential is how an operator proves who they are: what mintmark init writes.
// The file holds a secret and must be readable by its owner only.
type Credential struct {
	// Server is the admin API; TokenURL the authority's token endpoint.
	Server   string `json:"server"`
	TokenURL string `json:"token_url,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// Secret is the client's secret, for the client credentials grant.
	Secret   string `json:"client_secret,omitempty"`
	Scope    string `json:"scope,omitempty"`
	Resource string `json:"resource,omitempty"` // audience of the admin API
	// Token is used as it is instead, when given.
	Token string `json:"token,omitempty"`
}

// token obtains an access token (RFC 6749 §4.4, with the resource of RFC 8707) and
// says for how long it is good; 0 when that is not known.
func (c *Credential) token(ctx context.Context, hc *http.Client) (mintmark.Secret, time.Duration, error) {
	if c.Token != "" || c.ClientID == "" {
		return mintmark.NewSecret(c.Token), 0, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {c.Scope}, "resource": {c.Resource}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return mintmark.Secret{}, 0, usage("the credential's token_url is not a URL", "run mintmark login again")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.Secret))
	res, err := hc.Do(r)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return mintmark.Secret{}, 0, api.NewProblem(api.CodeUnreachable, fmt.Sprintf("the authority at %s can't be reached: %v", r.URL.Host, err), "is mintmark serve running there?")
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken mintmark.Secret `json:"access_token"`
		ExpiresIn   int64           `json:"expires_in"`
		Error       string          `json:"error"`
		Description string          `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return mintmark.Secret{}, 0, api.NewProblem(api.CodeUnintelligble, fmt.Sprintf("the authority at %s answered %d with something other than JSON", r.URL.Host, res.StatusCode), "check token_url in the credential")
	}
	switch {
	case res.StatusCode == http.StatusOK && !answer.AccessToken.IsZero():
		return answer.AccessToken, time.Duration(min(max(answer.ExpiresIn, 0), 86400)) * time.Second, nil
	case res.StatusCode >= 500:
		return mintmark.Secret{}, 0, api.NewProblem(api.CodeUnavailable, "the authority could not answer: "+plainCell(first(answer.Description, answer.Error)), "try again")
	}
	return mintmark.Secret{}, 0, api.NewProblem(api.CodeUnauthorized, "the authority refused this credential: "+plainCell(first(answer.Description, answer.Error)), "log in with a valid one: mintmark login --credential FILE")
}

// confirm sends a request that control may want confirmed. send is called with an
// empty text first. With -y the text is sent back at once; at a terminal a person
// types it; otherwise the problem stands, with how to confirm.
func (a *app) confirm(send func(confirm string) error) error {
	err := send("")
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.CodeConfirm || p.Confirm == "" {
		return err
	}
	if a.yes {
		return send(p.Confirm)
	}
	if !a.Terminal {
		p.Fix = "look at it with --dry-run, then add -y"
		return p
	}
	fmt.Fprintf(a.Stderr, "%s\nType %s to go on: ", p.Detail, p.Confirm)
	line, _ := bufio.NewReader(a.Stdin).ReadString('\n')
	if strings.TrimSpace(line) != p.Confirm {
		return api.NewProblem(api.CodeConfirm, "not confirmed; nothing was changed", "")
	}
	return send(p.Confirm)
}

// waiting holds the flags of commands that may wait for gateways.
type waiting struct {
	wait   bool
	dryRun bool
	reason string
}

func (w *waiting) flags(cmd *cobra.Command, destructive bool) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "return when every gateway applied it or is fenced")
	cmd.Flags().StringVar(&w.reason, "reason", "", "why; goes into the receipt")
	if destructive {
		cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "say what it would do, with counts, and change nothing")
	}
}

// bound is the time-out as the API takes it.
func (a *app) bound() string { return a.timeout.String() }
