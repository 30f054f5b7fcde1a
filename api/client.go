package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mintmark/mintmark"
)

// MaxAnswer is the largest answer that the client reads, in bytes.
const MaxAnswer = 64 << 20

// Client speaks to the admin API. Make it with NewClient.
type Client struct {
	base  *url.URL
	token mintmark.Secret
	http  *http.Client
	agent string
}

// Config is what a client needs.
type Config struct {
	// Server is the admin API's address, such as https://control.example:8443.
	Server string
	// Token is an access token of the authority for the admin audience; empty
	// for Join, which brings its own.
	Token mintmark.Secret
	// HTTP is the client to use; nil means http.DefaultClient.
	HTTP *http.Client
	// Agent is the User-Agent; empty means mintmark.
	Agent string
}

// NewClient checks the configuration; it does no I/O.
func NewClient(c Config) (*Client, error) {
	u, err := url.Parse(c.Server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, NewProblem(CodeInvalid, fmt.Sprintf("server %.200q is not an address", c.Server), "give one like https://127.0.0.1:8443")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	cl := &Client{base: u, token: c.Token, http: c.HTTP, agent: c.Agent}
	if cl.http == nil {
		cl.http = http.DefaultClient
	}
	if cl.agent == "" {
		cl.agent = "mintmark"
	}
	return cl, nil
}

type keyOf struct{}

// WithKey returns a context whose calls carry the idempotency key: calling again
// with the same key after a failure repeats the answer instead of the deed.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOf{}, key)
}

// Do calls any path of the API ("/v1/status"): in is sent as JSON unless nil, and
// the answer is decoded into out unless nil. Errors are *Problem.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in, c.token)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return read(ctx, res, out, method != http.MethodGet)
}

func (c *Client) send(ctx context.Context, method, path string, in any, token mintmark.Secret) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, NewProblem(CodeInvalid, "encode request: "+err.Error(), "")
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, NewProblem(CodeInvalid, "build request: "+err.Error(), "")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	if !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	if key, _ := ctx.Value(keyOf{}).(string); key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err, method != http.MethodGet)
	}
	return res, nil
}

// failed tells apart what certainly did not happen (no connection) from what may
// have happened: the latter is an unknown outcome for calls that change things.
func (c *Client) failed(ctx context.Context, err error, changes bool) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return NewProblem(CodeInterrupted, "interrupted while waiting for control; what was asked may still happen", "ask for the status, or call again with the same idempotency key")
	}
	var op interface{ Timeout() bool }
	dial := strings.Contains(err.Error(), "dial ") || strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509:")
	if changes && !dial {
		return NewProblem(CodeOutcome, fmt.Sprintf("control at %s broke off before it answered", c.base.Host), "call again with the same idempotency key")
	}
	if errors.As(err, &op) && op.Timeout() {
		return NewProblem(CodeUnreachable, fmt.Sprintf("control at %s did not answer in time", c.base.Host), "check the address and that control runs")
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return NewProblem(CodeUnreachable, fmt.Sprintf("control at %s can't be reached: %v", c.base.Host, err), "check the address (--server) and that control runs")
}

func read(ctx context.Context, res *http.Response, out any, changes bool) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return NewProblem(CodeInterrupted, "interrupted while reading control's answer", "")
		}
		if changes {
			return NewProblem(CodeOutcome, "control broke off in the middle of its answer", "call again with the same idempotency key")
		}
		return NewProblem(CodeUnreachable, "control broke off in the middle of its answer", "call again")
	}
	if len(b) > MaxAnswer {
		return NewProblem(CodeUnintelligble, "control's answer is too large", "ask for smaller pages")
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return problemOf(res, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return NewProblem(CodeUnintelligble, "control's answer is not what this version expects: "+err.Error(), "compare mintmark version here and there")
	}
	return nil
}

// problemOf reads a refusal. Whatever is not a problem document of ours (a proxy's
// HTML, say) still becomes a Problem, by its status alone.
func problemOf(res *http.Response, body []byte) error {
	p := &Problem{}
	if json.Unmarshal(body, p) == nil && p.Code != "" {
		p.Status = res.StatusCode
		return p
	}
	code := CodeInternal
	switch res.StatusCode {
	case http.StatusUnauthorized:
		code = CodeUnauthorized
	case http.StatusForbidden:
		code = CodeForbidden
	case http.StatusNotFound:
		code = CodeNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		code = CodeConflict
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code = CodeInvalid
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		code = CodeOutcome
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		code = CodeUnavailable
	}
	if code == CodeUnauthorized && res.Header.Get("WWW-Authenticate") != "" {
		// The resource server's own answer (RFC 6750 §3.1) has a challenge in place
		// of a problem.
		q := NewProblem(code, "control did not accept the token, or got none", "log in again: mintmark login, or set MINTMARK_TOKEN to a valid one")
		q.Status = res.StatusCode
		return q
	}
	q := NewProblem(code, fmt.Sprintf("answer %s without a problem document", res.Status), "check that the address is control's admin API")
	q.Status = res.StatusCode
	return q
}

// path joins escaped segments below /v1.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range segments {
		b.WriteString("/" + strings.ReplaceAll(url.PathEscape(s), ":", "%3A"))
	}
	return b.String()
}

func call[Out any](ctx context.Context, c *Client, method, path string, in any) (*Out, error) {
	out := new(Out)
	if err := c.Do(ctx, method, path, in, out); err != nil {
		return nil, err
	}
	return out, nil
}
