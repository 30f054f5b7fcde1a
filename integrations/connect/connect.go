// Package connect is how the programs beside the product, such as plugins of other
// systems, reach the admin API: with a credential of their own, never a person's.
package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// FromEnv makes a client of the credential that MINTMARK_CREDENTIAL names, a file of
// JSON with server, token_url, client_id, client_secret, scope and resource, whose
// tokens it renews by itself; or else of MINTMARK_SERVER and MINTMARK_TOKEN. No call
// takes longer than bound. It makes no connection yet. The client may be used
// concurrently.
func FromEnv(getenv func(string) string, agent string, bound time.Duration) (*api.Client, error) {
	c := api.Config{Server: getenv("MINTMARK_SERVER"), Token: mintmark.NewSecret(getenv("MINTMARK_TOKEN")), Agent: agent, HTTP: &http.Client{Timeout: bound}}
	if file := getenv("MINTMARK_CREDENTIAL"); file != "" {
		if err := fromFile(&c, file, bound); err != nil {
			return nil, err
		}
	}
	if c.Server == "" {
		return nil, errors.New("set MINTMARK_CREDENTIAL to a credential's file, or MINTMARK_SERVER and MINTMARK_TOKEN")
	}
	return api.NewClient(c)
}

func fromFile(c *api.Config, file string, bound time.Duration) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read credential: %w", err)
	}
	var k struct {
		Server   string `json:"server"`
		TokenURL string `json:"token_url"`
		ID       string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Scope    string `json:"scope"`
		Resource string `json:"resource"`
		Token    string `json:"token"`
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("credential %s is not JSON: %w", file, err)
	}
	if k.Server != "" {
		c.Server = k.Server
	}
	c.Token = mintmark.NewSecret(k.Token)
	if k.Token != "" {
		return nil
	}
	if k.TokenURL == "" || k.ID == "" || k.Secret == "" {
		return fmt.Errorf("credential %s: token_url, client_id and client_secret are wanted, or token", file)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, c.HTTP)
	c.HTTP = (&clientcredentials.Config{
		ClientID: k.ID, ClientSecret: k.Secret, TokenURL: k.TokenURL, Scopes: strings.Fields(k.Scope),
		EndpointParams: url.Values{"resource": {k.Resource}}, AuthStyle: oauth2.AuthStyleInHeader,
	}).Client(ctx)
	c.HTTP.Timeout = bound
	return nil
}
