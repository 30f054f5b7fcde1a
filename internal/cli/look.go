package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/config"
)

func (a *app) statusCmd() *cobra.Command {
	return a.call(call{
		use: "status", short: "Control's state at a glance", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			s, err := c.Status(ctx)
			if err != nil {
				return result{}, err
			}
			r := result{value: s, table: pairs("version", s.Version, "issuer", s.Issuer, "term", num(s.Term), "epoch", num(s.Epoch),
				"settled epoch", num(s.Settled), "head", num(s.Seq), "gateways", fmt.Sprintf("%d, %d live", s.Gateways, s.Live),
				"live tokens", num(s.Tokens), "revocations", num(s.Revoked))}
			for _, o := range s.Rollouts {
				r.notes = append(r.notes, fmt.Sprintf("rollout %s of %s: %s, %s at %s%%", o.ID, o.Service, o.State, o.Candidate, o.Percent))
			}
			return r, nil
		},
	})
}

func (a *app) verifyCmd() *cobra.Command {
	var data string
	var online, full bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Re-prove the ledger: chain, checkpoints, projections",
		Long: "Reads the data directory of a stopped process; with --online asks control to run the checks that can run while serving.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v *api.Verification
			var err error
			switch {
			case online:
				ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
				defer cancel()
				var c *api.Client
				if c, err = a.connect(ctx); err == nil {
					v, err = c.Verify(ctx)
				}
			case a.Runner.Verify == nil:
				return notBuilt(cmd)
			default:
				v, err = a.Runner.Verify(cmd.Context(), VerifyOptions{ProcessOptions: a.processOptions(data, nil), Full: full})
			}
			if err != nil {
				return err
			}
			return a.print(checks(v))
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory (default: as configured)")
	cmd.Flags().BoolVar(&online, "online", false, "ask control instead")
	cmd.Flags().BoolVar(&full, "full", true, "read every event")
	return cmd
}

func checks(v *api.Verification) result {
	r := result{value: v, table: table{head: []string{"CHECK", "OUTCOME", "DETAIL"}}}
	for _, c := range v.Checks {
		outcome := "ok"
		if !c.OK {
			outcome = "FAILED"
		}
		r.table.rows = append(r.table.rows, []string{c.Name, outcome, c.Detail})
	}
	if !v.OK {
		r.exit = api.ExitFailed
	}
	return r
}

// doctor looks at everything that commonly goes wrong between this terminal and
// a working control, and says how to mend the first thing that does.
func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what commonly goes wrong, and say how to mend it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			defer cancel()
			v := &api.Verification{OK: true}
			exit := api.ExitOK
			step := func(name string, detail string, err error) bool {
				c := api.Check{Name: name, OK: err == nil, Detail: detail}
				if err != nil {
					f := describe(ctx, err)
					c.Detail = strings.TrimSpace(f.Message)
					if f.Fix != "" {
						c.Detail += "; fix: " + f.Fix
					}
					v.OK = false
					if exit == api.ExitOK {
						exit = f.Exit
					}
				}
				v.Checks = append(v.Checks, c)
				return err == nil
			}
			cfg, err := config.Load(first(a.config, a.getenv("MINTMARK_CONFIG")), a.Environ)
			step("configuration", "data in "+cfg.Data, err)
			if a.Runner.Inspect != nil {
				for _, f := range a.Runner.Inspect(ctx, a.processOptions("", nil)) {
					step(f.Name, f.Detail, f.Err)
				}
			}
			t, err := a.target()
			if step("context", t.Server, err) {
				a.doctorOnline(ctx, step)
			}
			r := checks(v)
			r.exit = exit
			return a.print(r)
		},
	}
}

func (a *app) doctorOnline(ctx context.Context, step func(name, detail string, err error) bool) {
	a.anew = true // a kept token proves nothing about the authority
	c, err := a.connect(ctx)
	if !step("credential", "accepted by the authority", err) {
		return
	}
	s, err := c.Status(ctx)
	if !step("control", "", err) {
		return
	}
	if s.Version != a.Version {
		step("version", "control is "+s.Version+", this program "+a.Version+": adjacent versions work together", nil)
	}
	if d := a.Now().Sub(s.Now).Abs(); d > 2e9 && !s.Now.IsZero() {
		step("clock", fmt.Sprintf("this clock and control's differ by %s: leases do not mind, times shown do", d), nil)
	}
	if s.SetAside > 0 {
		step("records", "", api.NewProblem(api.CodeInternal, fmt.Sprintf("%d records of gateways could not be folded", s.SetAside),
			"nothing is lost: look at events of type usage.set_aside, each says why; a gateway of another version, or a break-in"))
	}
	gs, err := c.Gateways(ctx)
	if !step("gateways", fmt.Sprintf("%d known", s.Gateways), err) {
		return
	}
	for _, g := range gs.Gateways {
		var bad error
		if g.State != "live" {
			bad = api.NewProblem(api.CodeUnavailable, "it is "+g.State, "look at its log and its connection to the bus")
		}
		step("gateway "+string(g.ID), fmt.Sprintf("live, epoch %d", g.Epoch), bad)
	}
	v, err := c.Verify(ctx)
	if step("ledger", "", err) {
		for _, k := range v.Checks {
			var bad error
			if !k.OK {
				bad = api.NewProblem(api.CodeInternal, k.Detail, "stop control and run mintmark verify")
			}
			step("ledger: "+k.Name, k.Detail, bad)
		}
	}
}

func (a *app) eventsCmd() *cobra.Command {
	var after uint64
	cmd := &cobra.Command{
		Use: "events", Short: "Follow events as they happen, until interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			return c.Events(cmd.Context(), after, func(e mintmark.Event) error {
				if f == "json" {
					return json.NewEncoder(a.Stdout).Encode(e)
				}
				_, err := fmt.Fprintf(a.Stdout, "%d %s %-18s %s %s\n", e.Seq, at(e.At), e.Type, plainCell(e.Actor), plainCell(e.Stream))
				return err
			})
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "begin after this ledger number")
	return cmd
}

func (a *app) apiCmd() *cobra.Command {
	var method, input string
	return a.call(call{
		use: "api PATH", short: "Call any path of the admin API, such as /v1/status", args: cobra.ExactArgs(1),
		example: "  mintmark api /v1/status\n  mintmark api -X POST /v1/verify",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVarP(&method, "method", "X", "", "method (default: GET, or POST with --input)")
			cmd.Flags().StringVar(&input, "input", "", "file with the JSON body, - for standard input")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if !strings.HasPrefix(args[0], "/") {
				return result{}, usage("a path begins with /", "for instance /v1/status")
			}
			var in any
			if input != "" {
				b, err := a.readInput(input, 16<<20)
				if err != nil {
					return result{}, err
				}
				if !json.Valid(b) {
					return result{}, usage(input+" is not JSON", "")
				}
				in = json.RawMessage(b)
			}
			verb := first(strings.ToUpper(method), map[bool]string{true: "GET", false: "POST"}[in == nil])
			var out json.RawMessage
			if err := c.Do(ctx, verb, args[0], in, &out); err != nil {
				return result{}, err
			}
			if len(out) == 0 {
				return result{value: struct{}{}}, nil
			}
			r := result{value: out}
			if f, _ := a.format(); f == "table" || f == "wide" {
				a.output = "json" // there is no table of the unknown
			}
			return r, nil
		},
	})
}
