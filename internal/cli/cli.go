// Package cli answers what a person or a pipeline typed: mintmark NOUN VERB.
//
// Commands that speak to control go through package api and nothing else; those
// that are a process (serve, gateway run, demo …) are handed to a Runner that the
// program wires. Every command prints one value as table, wide table, JSON or
// YAML on standard output, and every failure as what happened, why and how to
// mend it on standard error (as JSON under -o json). Exit codes are api's, the
// same everywhere; see help exit-codes. Secrets come from standard input, files
// or the environment, never from arguments.
//
// There is no package-level state: Main may be called concurrently.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
)

// Config is a run's surroundings.
type Config struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Environ []string // as of os.Environ
	Runner  Runner
	// Version is printed, and sent as part of the User-Agent.
	Version string
	// Terminal says that a person sits at Stdin and Stderr and can be asked.
	Terminal bool
	// Color says that Stdout is a terminal; NO_COLOR overrules it.
	Color bool
	Now   func() time.Time
}

// Runner holds the processes that the program wires. A nil one answers that this
// build has none. Each returns when its context ends: nil after an orderly stop.
// An error that wraps config.Errors exits 2, an *api.Problem by its code, any
// other 1.
type Runner struct {
	Init    func(context.Context, InitOptions) error
	Serve   func(context.Context, ProcessOptions) error
	Control func(context.Context, ProcessOptions) error
	Gateway func(context.Context, ProcessOptions) error
	Demo    func(context.Context, DemoOptions) error
	// Verify re-proves the data directory offline.
	Verify func(context.Context, VerifyOptions) (*api.Verification, error)
	// Inspect looks, for doctor, at what a process on this machine would start with;
	// it changes nothing and finds nothing when there is no data directory.
	Inspect func(context.Context, ProcessOptions) []Finding
}

// Finding is one thing that doctor looked at: Err says what is wrong, Detail what
// is right.
type Finding struct {
	Name, Detail string
	Err          error
}

// ProcessOptions say how a long-running process is to run.
type ProcessOptions struct {
	// Config is the path given by --config or MINTMARK_CONFIG; empty means the
	// default look-up of config.Load. Data overrides its data directory.
	Config, Data string
	// Apply are resource files to apply once the process is up.
	Apply          []string
	Environ        []string
	Stdout, Stderr io.Writer
	Version        string
}

// InitOptions say how to make a data directory.
type InitOptions struct {
	ProcessOptions
	// Operator names the first operator; Credential is where its credential goes
	// (empty: operator.json in the data directory).
	Operator, Credential string
}

// DemoOptions say how to play the demonstration.
type DemoOptions struct {
	// Script plays the whole story unattended.
	Script bool
	// Dir keeps the data in a new directory; empty means a temporary one.
	Dir string
	// Fault is how the candidate misbehaves, none among them; ByHand leaves it to a
	// person to take it back.
	Fault  string
	ByHand bool
	// Clients is how many synthetic clients run.
	Clients int
	// Percent is the candidate's share; After how long the crowd goes on once it was
	// taken back.
	Percent string
	After   time.Duration
	Seed    uint64
	// JSON asks for the result as JSON; Color says that the output is a terminal.
	JSON, Color    bool
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string
}

// VerifyOptions say what to re-prove.
type VerifyOptions struct {
	ProcessOptions
	// Full reads every event instead of the newest checkpoint's tail.
	Full bool
}

// Main runs one command line and returns its exit code.
func Main(ctx context.Context, c Config) int {
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &app{Config: c}
	root := a.root()
	root.SetArgs(c.Args)
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	err := root.ExecuteContext(ctx)
	if code := exitCode(0); errors.As(err, &code) {
		return int(code)
	}
	if err == nil {
		return api.ExitOK
	}
	return a.fail(ctx, err)
}

// app is one run: its surroundings and its global flags.
type app struct {
	Config
	server, context, config, output, key string
	timeout                              time.Duration
	yes, quiet, noColor                  bool
	anew                                 bool // speaks with a new token, not a kept one
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mintmark",
		Short:         "Tokens that carry the release that minted them, and rollback that takes back exactly those",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(err.Error(), "see "+cmd.CommandPath()+" --help")
	})
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", "", "admin API's address (MINTMARK_SERVER)")
	f.StringVar(&a.context, "context", "", "context to use (MINTMARK_CONTEXT); see mintmark context list")
	f.StringVar(&a.config, "config", "", "configuration file (MINTMARK_CONFIG)")
	f.StringVarP(&a.output, "output", "o", "", "table, wide, json or yaml (MINTMARK_OUTPUT; default table)")
	f.DurationVar(&a.timeout, "timeout", time.Minute, "longest wait for an answer, and for gateways with --wait")
	f.StringVar(&a.key, "idempotency-key", "", "key under which a change is made once however often it is sent (default: a new one)")
	f.BoolVarP(&a.yes, "yes", "y", false, "confirm what would be asked")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print nothing on success but a value that is shown only once")
	f.BoolVar(&a.noColor, "no-color", false, "no colour (NO_COLOR)")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))

	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "tokens", Title: "Tokens and who may have them:"},
		&cobra.Group{ID: "releases", Title: "Releases and rollouts:"},
		&cobra.Group{ID: "look", Title: "Look and prove:"},
		&cobra.Group{ID: "cli", Title: "This program:"},
	)
	a.group(root, "run", a.initCmd(), a.serveCmd(), a.controlCmd(), a.gatewayCmd(), a.demoCmd())
	a.group(root, "tokens", a.tokenCmd(), a.revocationCmd(), a.apikeyCmd(), a.clientCmd(), a.userCmd(), a.keyCmd(), a.issuerCmd())
	a.group(root, "releases", a.releaseCmd(), a.rolloutCmd(), a.applyCmd(), a.diffCmd(), a.exportCmd(), a.schemaCmd(), a.fmtCmd(), a.policyCmd(), a.configCmd(), a.testkitCmd())
	a.group(root, "look", a.statusCmd(), a.receiptCmd(), a.verifyCmd(), a.doctorCmd(), a.eventsCmd())
	a.group(root, "cli", a.loginCmd(), a.contextCmd(), a.apiCmd(), a.explainCmd(), a.versionCmd(), a.manCmd())
	root.SetHelpCommandGroupID("cli")
	root.SetCompletionCommandGroupID("cli")
	root.AddCommand(a.exitCodesTopic())
	strict(root)
	return root
}

// strict makes a wrong number of arguments a usage error that says which are
// wanted.
func strict(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil || c == c.Root() {
				return err
			}
			return usage(fmt.Sprintf("wrong number of arguments: %d given", len(args)), "mintmark "+strings.TrimPrefix(c.UseLine(), "mintmark "))
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func (a *app) group(root *cobra.Command, id string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = id
		root.AddCommand(c)
	}
}

// noun is a command that only holds verbs: alone it prints help, and an unknown
// verb is a usage error rather than help with exit 0.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("unknown command "+quote(args[0])+" for "+cmd.CommandPath(), "see "+cmd.CommandPath()+" --help")
		}
		return cmd.Help()
	}}
	c.AddCommand(verbs...)
	return c
}

// getenv returns a variable of the run's environment.
func (a *app) getenv(name string) string {
	for _, line := range a.Environ {
		if len(line) > len(name) && line[len(name)] == '=' && line[:len(name)] == name {
			return line[len(name)+1:]
		}
	}
	return ""
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
