package testkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/policy"
)

// KindScenario is the kind of a scenario's document.
const KindScenario = "Scenario"

// Scenario is one course of events and what the service must make of it. Read it
// with Parse.
type Scenario struct {
	policy.Header
	Description string `json:"description,omitempty" doc:"For people."`
	Steps       []Step `json:"steps" check:"required,nonempty" doc:"What happens, in this order. Each step is one of mint, wait, call, revoke, rotate, release and outage; expect stands beside a call, or alone for the last answer."`

	file  string
	lines []int // of each step
}

// File is the name of the file that the scenario was read from.
func (s *Scenario) File() string { return s.file }

// Step is one thing that happens: exactly one field, but for expect, which may
// stand beside call.
type Step struct {
	Mint    *MintStep        `json:"mint,omitempty" doc:"Mint a token, good or broken."`
	Wait    *policy.Duration `json:"wait,omitempty" doc:"Move the issuer's clock ahead, in whole seconds; nothing sleeps."`
	Call    *CallStep        `json:"call,omitempty" doc:"Send the service a request."`
	Expect  *ExpectStep      `json:"expect,omitempty" doc:"What the answer to the call must be."`
	Revoke  string           `json:"revoke,omitempty" doc:"Take back tokens minted so far: token=NAME for one of this scenario's, or a selector such as subject=ada or release=service/v2."`
	Rotate  string           `json:"rotate,omitempty" check:"enum=keep|kill" doc:"Make a new signing key. keep: the one before goes on verifying. kill: it leaked, and leaves the key set."`
	Release string           `json:"release,omitempty" check:"name" doc:"Make this release the stable one: what is minted from now on is minted under it. Roll out and back with it."`
	Outage  string           `json:"outage,omitempty" check:"enum=none|jwks|introspection|token|all" doc:"Take a part of the issuer down, and everything else up."`
}

// MintStep says what to mint.
type MintStep struct {
	As       string                     `json:"as" check:"required,name" doc:"Name of the token in this scenario."`
	Client   string                     `json:"client,omitempty" check:"name" doc:"Client that it is minted for; app when left out."`
	Subject  string                     `json:"subject,omitempty" doc:"Whom it speaks for; the client itself when left out."`
	Scopes   []string                   `json:"scopes,omitempty" doc:"Its scopes; read and write when left out."`
	Lifetime policy.Duration            `json:"lifetime,omitempty" doc:"How long it lives, at most 30d; 5m when left out."`
	Claims   map[string]json.RawMessage `json:"claims,omitempty" doc:"Claims set over those that are minted; null takes one away."`
	Fault    string                     `json:"fault,omitempty" check:"enum=wrong-signature|alg-none|key-confusion|embedded-key|unknown-key|expired|not-yet-valid|no-expiry|wrong-audience|wrong-issuer|wrong-type|duplicate-member|truncated" doc:"The one thing that is wrong with it."`
}

// CallStep is a request to the service.
type CallStep struct {
	Method  string            `json:"method,omitempty" doc:"GET when left out."`
	Path    string            `json:"path" check:"required" doc:"Path and query at the service, beginning with /."`
	Token   string            `json:"token,omitempty" doc:"Name of the token that is sent as Bearer; none when left out."`
	Headers map[string]string `json:"headers,omitempty" doc:"Further headers."`
	Body    string            `json:"body,omitempty" doc:"What is sent."`
	Via     string            `json:"via,omitempty" check:"enum=direct|gateway" doc:"gateway: through Mintmark's gateway in front of the service; direct when left out."`
}

// ExpectStep is what an answer must be; every field that is given must hold.
type ExpectStep struct {
	Status  int                        `json:"status,omitempty" check:"min=100,max=599" doc:"The status code."`
	Headers map[string]string          `json:"headers,omitempty" doc:"Headers and a regular expression (RE2) that one of their values must match."`
	Code    string                     `json:"code,omitempty" doc:"The member code of problem details (RFC 9457), as Mintmark's gateway writes it."`
	Body    string                     `json:"body,omitempty" doc:"A regular expression (RE2) that the body must match."`
	JSON    map[string]json.RawMessage `json:"json,omitempty" doc:"JSON Pointers (RFC 6901) into the body, and the values that must be there."`
}

// Parse reads the scenarios of a YAML text. Every mistake is in the error, with
// file, line, column, what is wrong and how to mend it; then no scenario is
// returned. It never panics, whatever the text.
func Parse(name, text string) ([]*Scenario, error) {
	docs, errs := policy.ParseKind(policy.File{Name: name, Text: text}, KindScenario, func() any { return &Scenario{} })
	if len(errs) > 0 {
		return nil, errs
	}
	var out []*Scenario
	for _, d := range docs {
		c := check{doc: d, s: d.Spec.(*Scenario), tokens: map[string]bool{}}
		c.all()
		errs = append(errs, c.errs...)
		out = append(out, c.s)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

// check judges one scenario as a whole.
type check struct {
	doc    *policy.Resource
	s      *Scenario
	errs   policy.Errors
	tokens map[string]bool // minted so far
	called bool
}

func (c *check) fail(path, message, fix string) { c.doc.Fail(&c.errs, path, message, fix) }

func (c *check) all() {
	for n := range c.s.Steps {
		path := fmt.Sprintf("steps[%d]", n)
		file, line, _ := c.doc.Position(path)
		c.s.file, c.s.lines = file, append(c.s.lines, line)
		c.step(path, &c.s.Steps[n])
	}
}

func (c *check) step(path string, s *Step) {
	actions := s.actions()
	switch {
	case len(actions) == 0 && s.Expect == nil:
		c.fail(path, "does nothing", "write one of mint, wait, call, expect, revoke, rotate, release, outage")
	case len(actions) > 1:
		c.fail(path, "does several things: "+strings.Join(actions, ", "), "begin each with a - of its own")
	case len(actions) == 1 && s.Expect != nil && s.Call == nil:
		c.fail(path+".expect", "stands beside "+actions[0]+", which has no answer", "put it beside a call, or give it a - of its own after one")
	}
	if s.Wait != nil && time.Duration(*s.Wait)%time.Second != 0 {
		c.fail(path+".wait", s.Wait.String()+" is not whole seconds", "times of tokens are whole seconds (RFC 7519 §2)")
	}
	if s.Mint != nil {
		c.mint(path+".mint", s.Mint)
	}
	if s.Call != nil {
		c.call(path+".call", s.Call)
	}
	if s.Expect != nil {
		c.expect(path+".expect", s.Expect)
	}
	if s.Revoke != "" {
		c.revoke(path+".revoke", s.Revoke)
	}
}

// actions names what a step does, expect apart.
func (s *Step) actions() []string {
	var out []string
	for _, a := range []struct {
		name string
		is   bool
	}{
		{"mint", s.Mint != nil},
		{"wait", s.Wait != nil},
		{"call", s.Call != nil},
		{"revoke", s.Revoke != ""},
		{"rotate", s.Rotate != ""},
		{"release", s.Release != ""},
		{"outage", s.Outage != ""},
	} {
		if a.is {
			out = append(out, a.name)
		}
	}
	return out
}

func (c *check) mint(path string, m *MintStep) {
	if c.tokens[m.As] {
		c.fail(path+".as", fmt.Sprintf("%q was minted before", m.As), "give it another name")
	}
	c.tokens[m.As] = true
	if d := time.Duration(m.Lifetime); d%time.Second != 0 || d > MaxLifetime {
		c.fail(path+".lifetime", m.Lifetime.String()+" is not whole seconds up to 30d", "")
	}
	if m.Client == clientID {
		c.fail(path+".client", fmt.Sprintf("%q is the service's own client", clientID), "choose another name")
	}
}

func (c *check) call(path string, s *CallStep) {
	c.called = true
	if !strings.HasPrefix(s.Path, "/") || strings.HasPrefix(s.Path, "//") || strings.ContainsFunc(s.Path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		c.fail(path+".path", fmt.Sprintf("%q is not a path", s.Path), "begin with one / and escape spaces")
	}
	if s.Token != "" && !c.tokens[s.Token] {
		c.fail(path+".token", fmt.Sprintf("%q was not minted before this step", s.Token), "mint it first: - mint: {as: "+s.Token+"}")
	}
	if _, err := http.NewRequest(s.Method, "http://service.test/", nil); err != nil {
		c.fail(path+".method", fmt.Sprintf("%q is not a method", s.Method), "write GET, POST …")
	}
	for name, value := range s.Headers {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) || strings.ContainsAny(value, "\r\n\x00") {
			c.fail(path+".headers", fmt.Sprintf("%q can't be sent", name), "")
		}
	}
}

func (c *check) expect(path string, e *ExpectStep) {
	if !c.called {
		c.fail(path, "there is no call before it", "put it beside or after a call")
	}
	if e.Status == 0 && len(e.Headers) == 0 && e.Code == "" && e.Body == "" && len(e.JSON) == 0 {
		c.fail(path, "expects nothing", "write one of status, headers, code, body, json")
	}
	if _, err := regexp.Compile(e.Body); err != nil {
		c.fail(path+".body", "is not a regular expression: "+err.Error(), "")
	}
	for name, want := range e.Headers {
		if _, err := regexp.Compile(want); err != nil {
			c.fail(path+".headers."+name, "is not a regular expression: "+err.Error(), "")
		}
	}
	for pointer := range e.JSON {
		if pointer != "" && !strings.HasPrefix(pointer, "/") {
			c.fail(path+".json", fmt.Sprintf("%q is not a JSON Pointer", pointer), "begin with /, as in /items/0/id")
		}
	}
}

func (c *check) revoke(path, selector string) {
	if name, ok := strings.CutPrefix(selector, "token="); ok {
		if !c.tokens[name] {
			c.fail(path, fmt.Sprintf("token %q was not minted before this step", name), "known: "+strings.Join(sorted(c.tokens), ", "))
		}
		return
	}
	sel, err := mintmark.ParseSelector(selector)
	if err == nil {
		err = sel.Check()
	}
	if err != nil {
		c.fail(path, err.Error(), "write something like subject=ada, or token=NAME")
	}
}

func sorted(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for name := range set {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Needs collects what scenarios ask of one Issuer: the scopes and releases that
// they name, beside those that there are anyway.
func Needs(scenarios []*Scenario) (scopes, releases []string) {
	scopes, releases = []string{"read", "write"}, []string{"v1", "v2"}
	add := func(list []string, s string) []string {
		if s == "" || slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, sc := range scenarios {
		for _, s := range sc.Steps {
			if s.Mint != nil {
				for _, scope := range s.Mint.Scopes {
					scopes = add(scopes, scope)
				}
			}
			releases = add(releases, s.Release)
		}
	}
	return scopes, releases
}

// Schema returns the JSON Schema of a scenario, for editors.
func Schema() ([]byte, error) {
	return json.MarshalIndent(policy.SchemaOf(KindScenario, &Scenario{}), "", "  ")
}

// pointer returns what a JSON Pointer (RFC 6901) leads to in a value.
func pointer(v any, path string) (any, bool) {
	if path == "" {
		return v, true
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[part]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(at) || strconv.Itoa(n) != part {
				return nil, false
			}
			v = at[n]
		default:
			return nil, false
		}
	}
	return v, true
}
