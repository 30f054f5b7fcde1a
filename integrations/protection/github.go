package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/web"
)

// github answers GitHub as an app: with a token of the installation that asked.
type github struct {
	base, app string
	key       *rsa.PrivateKey
	egress    *web.Egress
}

func newGitHub(base, app string, text []byte, e *web.Egress) (*github, error) {
	block, _ := pem.Decode(text)
	if block == nil || app == "" {
		return nil, errors.New("want -app, and -key as PEM")
	}
	g := &github{base: base, app: app, egress: e}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		g.key = k
		return g, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse the app's key: %w", err)
	}
	var ok bool
	if g.key, ok = k.(*rsa.PrivateKey); !ok {
		return nil, errors.New("the app's key is not an RSA key")
	}
	return g, nil
}

// review is a deployment protection rule's answer.
type review struct {
	Environment string `json:"environment_name"`
	State       string `json:"state"` // approved or rejected
	Comment     string `json:"comment"`
}

// errGone: GitHub does not want the answer any more, for the run is over or reviewed.
var errGone = errors.New("the review is not wanted any more")

// answer posts a review to a callback of the API. Nil means that GitHub has it.
func (g *github) answer(ctx context.Context, callback string, installation int64, r review) error {
	if !g.owns(callback) {
		return fmt.Errorf("callback %.200q is not below %s", callback, g.base)
	}
	jwt, err := g.assertion(time.Now())
	if err != nil {
		return err
	}
	var token struct {
		Token string `json:"token"`
	}
	status, err := g.post(ctx, fmt.Sprintf("%s/app/installations/%d/access_tokens", g.base, installation), jwt, struct{}{}, &token)
	if err != nil || status != http.StatusCreated || token.Token == "" {
		return fmt.Errorf("get a token of installation %d: status %d, %w", installation, status, errors.Join(err))
	}
	status, err = g.post(ctx, callback, token.Token, r, nil)
	switch {
	case err != nil:
		return err
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusNotFound || status == http.StatusUnprocessableEntity:
		return errGone
	}
	return fmt.Errorf("answer %s: status %d", callback, status)
}

// owns reports whether a URL is one of the API's: a token goes nowhere else.
func (g *github) owns(callback string) bool {
	return strings.HasPrefix(callback, g.base+"/") && !strings.Contains(callback, "..")
}

func (g *github) post(ctx context.Context, to, bearer string, in, out any) (int, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	r.Header.Set("User-Agent", "mintmark-github")
	a, err := g.egress.Do(ctx, r)
	if err != nil {
		return 0, err
	}
	if out != nil && a.Status < 300 {
		err = json.Unmarshal(a.Body, out)
	}
	return a.Status, err
}

// assertion is the app's own token (RFC 7519, RS256), good for nine minutes and dated
// back one for clocks that differ.
func (g *github) assertion(now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(), "iss": g.app})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, g.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign as the app: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}
