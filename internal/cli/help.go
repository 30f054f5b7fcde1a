package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mintmark/mintmark/api"
)

// exits are the exit codes, everywhere the same.
var exits = []struct {
	Code    int    `json:"exit"`
	Meaning string `json:"meaning"`
}{
	{api.ExitOK, "done; gate passed"},
	{api.ExitFailed, "failed"},
	{api.ExitUsage, "usage, or an invalid file; nothing was changed"},
	{api.ExitAuth, "not authorised"},
	{api.ExitNotFound, "not found"},
	{api.ExitConflict, "conflict: a precondition did not hold, or a confirmation is missing"},
	{api.ExitGateFail, "gate: fail"},
	{api.ExitInconclusive, "gate: inconclusive"},
	{api.ExitWait, "gate: wait"},
	{api.ExitFenced, "rolled back or revoked; some gateways are fenced"},
	{api.ExitStatic, "rolled back or revoked; some static routes are not covered"},
	{api.ExitPending, "pending: durable, goes on by itself"},
	{api.ExitNotSafe, "the plan is not rollback-safe"},
	{api.ExitUnknown, "outcome unknown: retry with the same idempotency key"},
	{api.ExitUnreachable, "control cannot be reached"},
	{api.ExitInterrupted, "interrupted"},
}

func exitTable() table {
	t := table{head: []string{"EXIT", "MEANING"}}
	for _, e := range exits {
		t.rows = append(t.rows, []string{num(e.Code), e.Meaning})
	}
	return t
}

// exitCodesTopic is a help topic: mintmark help exit-codes.
func (a *app) exitCodesTopic() *cobra.Command {
	c := &cobra.Command{Use: "exit-codes", Short: "Exit codes, everywhere the same"}
	c.SetHelpFunc(func(*cobra.Command, []string) {
		_ = a.print(result{value: exits, table: exitTable()}) // written to a terminal: nowhere to report to
	})
	return c
}

func (a *app) explainCmd() *cobra.Command {
	return &cobra.Command{
		Use: "explain CODE", Short: "Say what a code means and what to do: token_revoked, conflict, 13 …", Args: cobra.MaximumNArgs(1),
		ValidArgs: api.Explained(),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				t := table{head: []string{"CODE", "MEANING"}}
				all := map[string]api.Explanation{}
				for _, c := range api.Explained() {
					all[c], _ = api.Explain(c)
					t.rows = append(t.rows, []string{c, all[c].What})
				}
				return a.print(result{value: all, table: t})
			}
			for _, e := range exits {
				if num(e.Code) == args[0] {
					return a.print(result{value: e, notes: []string{"exit " + args[0] + ": " + e.Meaning}})
				}
			}
			e, ok := api.Explain(args[0])
			if !ok {
				return api.NewProblem(api.CodeNotFound, "no code "+quote(args[0]), "mintmark explain lists them")
			}
			return a.print(result{value: e, notes: []string{args[0] + ": " + e.What, "  " + e.Do}})
		},
	}
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.print(result{value: map[string]string{"version": a.Version}, notes: []string{"mintmark " + a.Version}})
	}}
}

func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "Print the manual page (roff): mintmark man | man -l -", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			fmt.Fprintf(&b, ".TH MINTMARK 1 \"\" \"mintmark %s\"\n.SH NAME\nmintmark \\- %s\n.SH SYNOPSIS\n.B mintmark\n\\fINOUN VERB\\fR [flags]\n.SH COMMANDS\n", roff(a.Version), roff(cmd.Root().Short))
			manCommands(&b, cmd.Root())
			b.WriteString(".SH GLOBAL FLAGS\n")
			manFlags(&b, cmd.Root().PersistentFlags())
			b.WriteString(".SH ENVIRONMENT\nMINTMARK_SERVER, MINTMARK_TOKEN, MINTMARK_CONTEXT, MINTMARK_OUTPUT, MINTMARK_CONFIG, NO_COLOR;\nMINTMARK_\\fIPATH\\fR overrides a setting of mintmark.yaml.\n.SH EXIT STATUS\n")
			for _, e := range exits {
				fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", e.Code, roff(e.Meaning))
			}
			return a.raw([]byte(b.String()))
		},
	}
}

func manCommands(b *strings.Builder, c *cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		if sub.Runnable() && !sub.HasSubCommands() {
			fmt.Fprintf(b, ".SS %s\n%s\n", roff(sub.UseLine()), roff(first(sub.Long, sub.Short)))
			manFlags(b, sub.LocalNonPersistentFlags())
		}
		manCommands(b, sub)
	}
}

func manFlags(b *strings.Builder, f *pflag.FlagSet) {
	f.VisitAll(func(f *pflag.Flag) {
		fmt.Fprintf(b, ".TP\n.B \\-\\-%s\n%s\n", roff(f.Name), roff(f.Usage))
	})
}

// roff escapes what troff would act on.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
