package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func (a *app) processOptions(data string, apply []string) ProcessOptions {
	return ProcessOptions{
		Config: first(a.config, a.getenv("MINTMARK_CONFIG")), Data: data, Apply: apply,
		Environ: a.Environ, Stdout: a.Stdout, Stderr: a.Stderr, Version: a.Version,
	}
}

// process makes the command of a long-running process.
func (a *app) process(use, short, long string, run func(context.Context, ProcessOptions) error) *cobra.Command {
	var data string
	var apply []string
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if run == nil {
			return notBuilt(cmd)
		}
		return run(cmd.Context(), a.processOptions(data, apply))
	}}
	cmd.Flags().StringVar(&data, "data", "", "data directory (default: as configured)")
	cmd.Flags().StringSliceVarP(&apply, "file", "f", nil, "resource files to apply once it is up")
	return cmd
}

func notBuilt(cmd *cobra.Command) error {
	return api.NewProblem(api.CodeNotSupported, cmd.CommandPath()+" is not part of this build", "use the mintmark program")
}

func (a *app) initCmd() *cobra.Command {
	var o InitOptions
	cmd := &cobra.Command{
		Use: "init", Short: "Make a data directory, its secrets and the first operator's credential", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.Runner.Init == nil {
				return notBuilt(cmd)
			}
			data := o.Data
			o.ProcessOptions = a.processOptions(data, nil)
			return a.Runner.Init(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.Data, "data", "", "data directory (default: as configured)")
	cmd.Flags().StringVar(&o.Operator, "operator", "operator", "name of the first operator")
	cmd.Flags().StringVar(&o.Credential, "credential", "", "where its credential goes (default: "+CredentialFile+" in the data directory)")
	return cmd
}

func (a *app) serveCmd() *cobra.Command {
	return a.process("serve", "Run everything in one process: authority, control, recorder, gateway",
		"Runs on embedded engines; the data directory is all there is to back up beside the secrets.", a.Runner.Serve)
}

func (a *app) controlCmd() *cobra.Command {
	return a.process("control", "Run the control plane alone, for gateways in other processes",
		"Runs authority, control and recorder, and listens for gateways under listen.bus.", a.Runner.Control)
}

func (a *app) gatewayCmd() *cobra.Command {
	// The noun alone is the process, as control and serve are.
	cmd := a.process("gateway", "Run a gateway apart from control; list, check and admit gateways",
		"Alone it runs a gateway: it joins with a one-time token from mintmark gateway join-token (MINTMARK_JOIN or\n"+
			"gateway.join) and keeps its own credential from then on.", a.Runner.Gateway)
	run := a.process("run", "Run a gateway, as the noun alone does", "", a.Runner.Gateway)
	list := a.call(call{
		use: "list", short: "List gateways: lease, epoch and row applied", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			gs, err := c.Gateways(ctx)
			if err != nil {
				return result{}, err
			}
			return show(gs, gatewayTable(gs), nil)
		},
	})
	check := a.call(call{
		use: "check [NAME]", short: "Fail unless gateways are live and at the head of the state log", args: cobra.MaximumNArgs(1),
		complete: func(ctx context.Context, c *api.Client) (out []string) {
			if gs, err := c.Gateways(ctx); err == nil {
				for _, g := range gs.Gateways {
					out = append(out, string(g.ID))
				}
			}
			return out
		},
		run: a.checkGateways,
	})
	var q api.JoinTokenRequest
	var life time.Duration
	join := a.call(call{
		use: "join-token NAME", short: "Make a one-time token with which a gateway joins", args: cobra.ExactArgs(1),
		flags: func(cmd *cobra.Command) {
			cmd.Flags().DurationVar(&life, "ttl", 15*time.Minute, "how long it is good, at most 24h")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q.Gateway, q.TTL = mintmark.GatewayID(args[0]), life.String()
			if err := mintmark.CheckGatewayID(q.Gateway); err != nil {
				return result{}, usage(err.Error(), "")
			}
			t, err := c.JoinToken(ctx, q)
			if err != nil {
				return result{}, err
			}
			return result{
				value: t, table: pairs("gateway", string(t.Gateway), "expires", at(t.Expires)),
				once:  t.Value,
				notes: []string{"", "shown once, good once:", t.Value, "use it with: MINTMARK_JOIN=… mintmark gateway run"},
			}, nil
		},
	})
	cmd.AddCommand(run, list, check, join, a.removeGatewayCmd())
	return cmd
}

func (a *app) removeGatewayCmd() *cobra.Command {
	var q api.StepRequest
	return a.call(call{
		use: "remove NAME", short: "Cut a gateway off at once and refuse its credential", args: cobra.ExactArgs(1),
		flags: func(cmd *cobra.Command) { cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the record") },
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			g, err := c.RemoveGateway(ctx, mintmark.GatewayID(args[0]), q)
			if err != nil {
				return result{}, err
			}
			return show(g, pairs("gateway", string(g.ID), "state", g.State), nil)
		},
	})
}

func gatewayTable(gs *api.Gateways) table {
	t := table{head: []string{"GATEWAY", "STATE", "EPOCH", "SEQ", "BEHIND", "LEASE", "LAST SEEN", "CREDENTIAL ENDS", "VERSION", "STATIC ROUTES"}, wide: 8}
	for _, g := range gs.Gateways {
		t.rows = append(t.rows, []string{
			string(g.ID), g.State, num(g.Epoch), num(g.Seq), num(gs.Head - min(g.Seq, gs.Head)),
			(time.Duration(g.LeaseMS) * time.Millisecond).String(), at(g.LastSeen), at(g.CredentialEnds), g.Version, join(g.Static),
		})
	}
	return t
}

func (a *app) checkGateways(ctx context.Context, c *api.Client, args []string) (result, error) {
	gs, err := c.Gateways(ctx)
	if err != nil {
		return result{}, err
	}
	if len(args) == 1 {
		kept := gs.Gateways[:0]
		for _, g := range gs.Gateways {
			if string(g.ID) == args[0] {
				kept = append(kept, g)
			}
		}
		if gs.Gateways = kept; len(kept) == 0 {
			return result{}, api.NewProblem(api.CodeNotFound, "no gateway "+quote(args[0]), "see mintmark gateway list")
		}
	}
	r := result{value: gs, table: gatewayTable(gs)}
	for _, g := range gs.Gateways {
		switch {
		case g.State != "live":
			r.notes = append(r.notes, fmt.Sprintf("%s is %s", g.ID, g.State))
		case g.Seq < gs.Head:
			r.notes = append(r.notes, fmt.Sprintf("%s is %d rows behind", g.ID, gs.Head-g.Seq))
		}
	}
	if len(r.notes) > 0 {
		r.exit = api.ExitFailed
	}
	return r, nil
}

func (a *app) demoCmd() *cobra.Command {
	o := DemoOptions{}
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch the main job happen: one command, no configuration", Args: cobra.NoArgs,
		Long: "Starts control, three gateways, a sample service in two releases and synthetic clients on loopback. Keys make\n" +
			"the candidate misbehave; Mintmark notices by itself, takes it back and says why. Each step prints the command a\n" +
			"person would have typed. With --script it plays the whole story unattended, and exits 0 only if the fault was\n" +
			"noticed by the right metric and the guarantees held, by the clients' own account.",
		Example: "  mintmark demo\n  mintmark demo --script --fault 5xx\n  mintmark demo --script --fault over-scoped --by-hand",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.Runner.Demo == nil {
				return notBuilt(cmd)
			}
			f, err := a.format()
			if err != nil {
				return err
			}
			o.JSON, o.Color = f == "json", a.Color && !a.noColor && a.getenv("NO_COLOR") == ""
			o.Environ, o.Stdin, o.Stdout, o.Stderr, o.Version = a.Environ, a.Stdin, a.Stdout, a.Stderr, a.Version
			return a.Runner.Demo(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Script, "script", false, "play the whole story unattended")
	f.StringVar(&o.Dir, "dir", "", "keep the data in this new directory (default: a temporary one, removed)")
	f.StringVar(&o.Fault, "fault", "over-scoped", "how the candidate misbehaves: over-scoped, wrong-audience, stranded, 5xx, slow, upstream-401 or none")
	f.BoolVar(&o.ByHand, "by-hand", false, "a person takes the candidate back, in place of Mintmark")
	f.IntVar(&o.Clients, "clients", 300, "synthetic clients, 30 to 5000")
	f.StringVar(&o.Percent, "percent", "25", "candidate's share of the traffic")
	f.DurationVar(&o.After, "after", 3*time.Second, "how long the clients go on after the rollback")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of what the clients do")
	return cmd
}
