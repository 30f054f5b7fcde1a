package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/receipt"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mintmark": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(Main(ctx, Config{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Version: "v0-test"}))
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: scriptCommands, Setup: func(e *testscript.Env) error {
		s := httptest.NewServer(control())
		e.Defer(s.Close)
		e.Setenv("CONTROL", s.URL)
		e.Setenv("HOME", e.WorkDir)
		return nil
	}})
}

// scriptCommands are what the scripts need beside testscript's own: exits N ARGS…
// wants an exact exit code; credential FILE SECRET writes an operator's credential.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": func(ts *testscript.TestScript, _ bool, args []string) {
		err := ts.Exec(args[1], args[2:]...)
		code := 0
		var exit interface{ ExitCode() int }
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if fmt.Sprint(code) != args[0] {
			ts.Fatalf("exit %d, want %s", code, args[0])
		}
	},
	"credential": func(ts *testscript.TestScript, _ bool, args []string) {
		server := ts.Getenv("CONTROL")
		ts.Check(WriteCredential(ts.MkAbs(args[0]), Credential{
			Server: server, TokenURL: server + "/token", ClientID: "op", Secret: args[1], Scope: "admin:admin", Resource: "https://a/admin",
		}))
	},
}

// control is a stand-in for the admin API: it knows a little of everything and
// wants the token "good".
func control() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, v func(*http.Request) (any, *api.Problem)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var body any
			var p *api.Problem
			if r.Header.Get("Authorization") != "Bearer good" && r.URL.Path != "/token" {
				p = api.NewProblem(api.CodeUnauthorized, "the token is not valid here", "log in again")
			} else {
				body, p = v(r)
			}
			if p != nil {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(p.Status)
				body = p
			}
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	answer("GET /v1/status", func(*http.Request) (any, *api.Problem) {
		return api.Status{Version: "v0-test", Issuer: "https://a", Epoch: 7, Tokens: 3}, nil
	})
	answer("GET /v1/tokens/{id}", func(r *http.Request) (any, *api.Problem) {
		if r.PathValue("id") != "tok_1" {
			return nil, api.NewProblem(api.CodeNotFound, "no token tok_2", "")
		}
		return api.Token{ID: "tok_1", Kind: mintmark.KindOpaque, State: mintmark.StateActive, Subject: "ann\x1b[31m"}, nil
	})
	answer("POST /v1/revocations", func(r *http.Request) (any, *api.Problem) {
		var q api.RevokeRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return nil, api.NewProblem(api.CodeInvalid, err.Error(), "")
		}
		if q.DryRun {
			return api.RevokeAnswer{DryRun: true, Selector: q.Selector, Tokens: 41, Gateways: 3}, nil
		}
		if strings.HasPrefix(q.Selector, "release=") && q.Confirm != "41 tokens" {
			return nil, &api.Problem{Title: "Confirmation required", Status: 428, Code: api.CodeConfirm, Detail: "41 tokens of many subjects", Confirm: "41 tokens"}
		}
		outcome := mintmark.OutcomeEffective
		switch {
		case strings.Contains(q.Selector, "fenced"):
			outcome = mintmark.OutcomeByLease
		case strings.Contains(q.Selector, "static"):
			outcome = mintmark.OutcomeStatic
		case strings.Contains(q.Selector, "slow"):
			outcome = mintmark.OutcomePending
		}
		return api.RevokeAnswer{Selector: q.Selector, Tokens: 1, Receipt: &mintmark.Receipt{
			ID: "rcp_1", Kind: "revoke", Outcome: outcome, Tokens: 1, Gateways: []mintmark.GatewayReach{{Gateway: "gw-1", Reach: mintmark.ReachApplied}},
		}}, nil
	})
	answer("POST /v1/rollouts:plan", func(*http.Request) (any, *api.Problem) {
		return api.Plan{Service: "orders", Back: []api.PlanLine{{Class: "unmapped", Tokens: 9}}, Reasons: []string{"9 tokens would be stranded"}}, nil
	})
	rollouts(answer)
	answer("GET /v1/gateways", func(*http.Request) (any, *api.Problem) {
		return api.Gateways{Head: 9, Gateways: []api.Gateway{{ID: "gw-1", State: "live", Seq: 9}, {ID: "gw-2", State: "silent", Seq: 8}}}, nil
	})
	answer("POST /token", func(r *http.Request) (any, *api.Problem) {
		id, secret, _ := r.BasicAuth()
		if id != "op" || secret != "s3cret" || r.FormValue("resource") != "https://a/admin" {
			return map[string]string{"error": "invalid_client"}, nil
		}
		return map[string]string{"access_token": "good"}, nil
	})
	return mux
}

// Every code that may be met is explained, so that no failure ends in a riddle.
func TestEveryCodeIsExplained(t *testing.T) {
	for _, file := range []string{"../../problem.go", "../../api/problem.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range regexp.MustCompile(`(?m)^\tCode\w+\s+Code = "(\w+)"`).FindAllSubmatch(b, -1) {
			found++
			if _, ok := api.Explain(string(m[1])); !ok {
				t.Errorf("%s: %s is not explained", file, m[1])
			}
		}
		if found < 15 {
			t.Errorf("%s: found %d codes: has the form of the file changed?", file, found)
		}
	}
}

// Every command has a short description and no secret can be given as argument.
func TestCommands(t *testing.T) {
	a := &app{Config: Config{Environ: nil}}
	var walk func(*cobra.Command)
	leaves := 0
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s says nothing of itself", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			for _, bad := range []string{"password", "secret", "token"} {
				if f.Name == bad && c.CommandPath() != "mintmark token list" && c.CommandPath() != "mintmark token revoke" && c.CommandPath() != "mintmark token suspend" {
					t.Errorf("%s --%s would put a secret on the command line", c.CommandPath(), f.Name)
				}
			}
		})
		if !c.HasSubCommands() {
			leaves++
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	if leaves < 45 {
		t.Errorf("only %d commands", leaves)
	}
}

func TestConfirmAtTerminal(t *testing.T) {
	for _, tt := range []struct {
		typed string
		sent  bool
	}{{"41 tokens\n", true}, {"yes\n", false}, {"", false}} {
		var errOut bytes.Buffer
		a := &app{Config: Config{Terminal: true, Stdin: strings.NewReader(tt.typed), Stderr: &errOut}}
		sent := false
		err := a.confirm(func(text string) error {
			if text == "" {
				return &api.Problem{Code: api.CodeConfirm, Confirm: "41 tokens", Detail: "many"}
			}
			sent = text == "41 tokens"
			return nil
		})
		if sent != tt.sent || (err == nil) != tt.sent {
			t.Errorf("typed %q: sent %v, %v", tt.typed, sent, err)
		}
	}
}

func TestOutcomeUnknownNamesTheKey(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer s.Close()
	var out, errOut bytes.Buffer
	code := Main(t.Context(), Config{
		Args: []string{"token", "revoke", "tok_1", "--idempotency-key", "k1", "-o", "json"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut,
		Environ: []string{"MINTMARK_SERVER=" + s.URL, "MINTMARK_TOKEN=good", "HOME=" + t.TempDir()},
	})
	var f failure
	if err := json.Unmarshal(errOut.Bytes(), &f); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	if code != api.ExitUnknown || f.Key != "k1" || f.Exit != code {
		t.Errorf("exit %d, %+v", code, f)
	}
}

func TestReceiptVerify(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := mintmark.Receipt{ID: "rcp_1", Kind: "rollback", Tokens: 5, KeyID: receipt.KeyID(public), Committed: time.Unix(1, 0)}
	body, _, err := epoch.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Signature = base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, append([]byte(mintmark.ReceiptDomain), body...)))
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	keys := receipt.Keys{r.KeyID: public}
	for _, tt := range []struct {
		text string
		keys receipt.Keys
		exit int
	}{
		{string(text), keys, 0},
		{strings.Replace(string(text), `"tokens": 5`, `"tokens": 4`, 1), keys, api.ExitFailed},
		{strings.Replace(string(text), `"rollback"`, `"revoke"`, 1), keys, api.ExitFailed},
		{strings.Replace(string(text), `"tokens": 5`, `"tokens": 5, "more": 1`, 1), keys, api.ExitFailed},
		{string(text[:len(text)/2]), keys, api.ExitUsage},
		{string(text), receipt.Keys{}, api.ExitNotFound},
	} {
		exit := 0
		if _, err := verified(strings.NewReader(tt.text), tt.keys); err != nil {
			exit = describe(t.Context(), err).Exit
		}
		if exit != tt.exit {
			t.Errorf("exit %d, want %d: %s", exit, tt.exit, tt.text)
		}
	}
}

func TestFailuresSayHowToMend(t *testing.T) {
	for _, k := range knownFailures {
		f := describe(t.Context(), fmt.Errorf("open data: %w", k.is))
		if f.Code != k.code || f.Fix == "" || f.Exit != api.ExitFailed {
			t.Errorf("%v: %+v", k.is, f)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if f := describe(ctx, ctx.Err()); f.Exit != api.ExitInterrupted {
		t.Errorf("interrupted: %+v", f)
	}
}

func TestRunnerErrorsAndStop(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fmt.Errorf("disk: %w", io.ErrUnexpectedEOF), 1},
		{api.NewProblem(api.CodeInvalidFile, "x", ""), 2},
	} {
		var out bytes.Buffer
		code := Main(t.Context(), Config{Args: []string{"serve", "--data", "d"}, Stdout: &out, Stderr: &out, Runner: Runner{
			Serve: func(_ context.Context, o ProcessOptions) error {
				if o.Data != "d" {
					t.Errorf("data = %q", o.Data)
				}
				return tt.err
			},
		}})
		if code != tt.want {
			t.Errorf("%v: exit %d, want %d", tt.err, code, tt.want)
		}
	}
}
