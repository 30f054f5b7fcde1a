package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Result is how a scenario went.
type Result struct {
	Scenario string `json:"scenario"`
	File     string `json:"file"`
	Passed   bool   `json:"passed"`
	// Seconds is how long it took.
	Seconds float64      `json:"seconds"`
	Steps   []StepResult `json:"steps"`
}

// StepResult is how one step went.
type StepResult struct {
	Line   int    `json:"line"`
	Step   string `json:"step"` // in words
	Passed bool   `json:"passed"`
	// Got is what the service answered, or what went wrong.
	Got string `json:"got,omitempty"`
	// Wrong are the expectations that did not hold.
	Wrong []Mismatch `json:"wrong,omitempty"`
	// Curl reproduces a call; its token is hidden unless Player.ShowTokens.
	Curl string `json:"curl,omitempty"`
}

// Mismatch is one expectation that did not hold.
type Mismatch struct {
	What string `json:"what"` // status, header X, code, body, json /a/b
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Player plays scenarios against one service. Its Issuer keeps what was done to it
// from one scenario to the next, keys and revocations among it; the outage of a
// scenario ends with it.
type Player struct {
	Issuer *Issuer
	// Service is the base URL of the service under test.
	Service string
	// Client sends the calls; nil is one that follows no redirects and gives up
	// after 30 seconds.
	Client *http.Client
	// ShowTokens puts tokens into StepResult.Curl as they are.
	ShowTokens bool
}

// Play runs the steps in their order. It goes on after an expectation that did not
// hold, and ends at a step that could not be done.
func (p *Player) Play(ctx context.Context, s *Scenario) Result {
	began := time.Now()
	run := play{Player: p, tokens: map[string]Token{}}
	if run.Client == nil {
		run.client = &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer run.client.CloseIdleConnections()
	} else {
		run.client = p.Client
	}
	r := Result{Scenario: s.Name, File: s.file, Passed: true}
	for n := range s.Steps {
		out := StepResult{Line: s.lines[n], Step: s.Steps[n].String()}
		err := run.step(ctx, &s.Steps[n], &out)
		if err != nil {
			out.Got = err.Error()
		}
		out.Passed = err == nil && len(out.Wrong) == 0
		r.Passed = r.Passed && out.Passed
		r.Steps = append(r.Steps, out)
		if err != nil {
			break
		}
	}
	_ = p.Issuer.SetOutage(NoOutage) // known, so it is done
	r.Seconds = time.Since(began).Seconds()
	return r
}

// play is one scenario being played.
type play struct {
	*Player
	client *http.Client
	tokens map[string]Token
	last   answer
}

// answer is what the service answered last.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (p *play) step(ctx context.Context, s *Step, out *StepResult) error {
	switch {
	case s.Mint != nil:
		t, err := p.Issuer.Mint(ctx, MintRequest{
			Client: s.Mint.Client, Subject: s.Mint.Subject, Scopes: s.Mint.Scopes,
			Lifetime: time.Duration(s.Mint.Lifetime), Claims: s.Mint.Claims, Fault: Fault(s.Mint.Fault),
		})
		p.tokens[s.Mint.As] = t
		out.Got = t.ID
		return err
	case s.Wait != nil:
		p.Issuer.Advance(time.Duration(*s.Wait))
	case s.Revoke != "":
		if name, ok := strings.CutPrefix(s.Revoke, "token="); ok {
			return p.Issuer.RevokeToken(ctx, p.tokens[name])
		}
		return p.Issuer.Revoke(ctx, s.Revoke)
	case s.Rotate == "kill":
		return p.Issuer.Kill(ctx)
	case s.Rotate != "":
		kid, err := p.Issuer.Rotate(ctx)
		out.Got = kid
		return err
	case s.Release != "":
		return p.Issuer.Release(ctx, s.Release)
	case s.Outage != "":
		return p.Issuer.SetOutage(Outage(s.Outage))
	case s.Call != nil:
		if err := p.call(ctx, s.Call, out); err != nil {
			return err
		}
	}
	if s.Expect != nil {
		out.Wrong = s.Expect.judge(p.last)
	}
	return nil
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 1 << 20

func (p *play) call(ctx context.Context, c *CallStep, out *StepResult) error {
	base := p.Service
	if c.Via == "gateway" {
		if base = p.Issuer.GatewayURL(); base == "" {
			return fmt.Errorf("%w: there is no gateway: the issuer was started without a service", ErrConfig)
		}
	}
	url := strings.TrimSuffix(base, "/") + c.Path
	req, err := http.NewRequestWithContext(ctx, c.Method, url, strings.NewReader(c.Body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	shown := ""
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		req.Header.Set(name, c.Headers[name])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if c.Token != "" {
		value, err := p.Issuer.Present(p.tokens[c.Token])
		if err != nil {
			return fmt.Errorf("present the token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+value)
		if shown = "$TOKEN"; p.ShowTokens {
			shown = value
		}
	}
	out.Curl = curl(req, c.Body, shown)
	res, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("the service gave no answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	p.last = answer{status: res.StatusCode, header: res.Header, body: body}
	out.Got = fmt.Sprintf("%d %s", res.StatusCode, short(string(body)))
	return nil
}

// curl is the command that sends the same request.
func curl(r *http.Request, body, token string) string {
	var b strings.Builder
	b.WriteString("curl -i")
	if r.Method != http.MethodGet {
		b.WriteString(" -X " + r.Method)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == "Authorization" && token != "" {
			continue
		}
		b.WriteString(" -H " + quote(name+": "+r.Header.Get(name)))
	}
	if token != "" {
		b.WriteString(` -H "Authorization: Bearer ` + token + `"`)
	}
	if body != "" {
		b.WriteString(" --data-raw " + quote(body))
	}
	return b.String() + " " + quote(r.URL.String())
}

// quote writes a word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return s
}

func (e *ExpectStep) judge(a answer) []Mismatch {
	var out []Mismatch
	wrong := func(what, want, got string) { out = append(out, Mismatch{What: what, Want: want, Got: got}) }
	if e.Status != 0 && a.status != e.Status {
		wrong("status", fmt.Sprint(e.Status), fmt.Sprint(a.status))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		match := regexp.MustCompile(e.Headers[name]).MatchString // compiled by Parse before
		if values := a.header.Values(name); !slices.ContainsFunc(values, match) {
			wrong("header "+name, e.Headers[name], strings.Join(values, ", "))
		}
	}
	if e.Body != "" && !regexp.MustCompile(e.Body).Match(a.body) {
		wrong("body", e.Body, short(string(a.body)))
	}
	if e.Code == "" && len(e.JSON) == 0 {
		return out
	}
	var doc any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		wrong("body", "JSON", short(string(a.body)))
		return out
	}
	if e.Code != "" {
		if got, _ := pointer(doc, "/code"); got != e.Code {
			wrong("code", e.Code, fmt.Sprint(got))
		}
	}
	for _, at := range slices.Sorted(maps.Keys(e.JSON)) {
		var want any
		d := json.NewDecoder(bytes.NewReader(e.JSON[at]))
		d.UseNumber()
		_ = d.Decode(&want) // written by Parse
		got, ok := pointer(doc, at)
		if !ok {
			wrong("json "+at, string(e.JSON[at]), "nothing")
		} else if !reflect.DeepEqual(got, want) {
			text, _ := json.Marshal(got) // was read from JSON
			wrong("json "+at, string(e.JSON[at]), short(string(text)))
		}
	}
	return out
}

// String says in words what the step does.
func (s *Step) String() string {
	var words []string
	switch {
	case s.Mint != nil:
		words = append(words, "mint", s.Mint.As)
		if s.Mint.Fault != "" {
			words = append(words, "("+s.Mint.Fault+")")
		}
	case s.Wait != nil:
		words = append(words, "wait", s.Wait.String())
	case s.Call != nil:
		method := s.Call.Method
		if method == "" {
			method = http.MethodGet
		}
		words = append(words, method, s.Call.Path)
		if s.Call.Token != "" {
			words = append(words, "with", s.Call.Token)
		}
		if s.Call.Via == "gateway" {
			words = append(words, "via the gateway")
		}
	case s.Revoke != "":
		words = append(words, "revoke", s.Revoke)
	case s.Rotate != "":
		words = append(words, "rotate", s.Rotate)
	case s.Release != "":
		words = append(words, "release", s.Release)
	case s.Outage != "":
		words = append(words, "outage", s.Outage)
	default:
		words = append(words, "expect")
	}
	return strings.Join(words, " ")
}
