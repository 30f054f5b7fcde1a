package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/internal/lint"
	"github.com/mintmark/mintmark/internal/policy"
)

func (a *app) policyCmd() *cobra.Command {
	return noun("policy", "Judge resources before they are in force", a.policyLint(), a.policyDiff(), a.policySimulate(), a.policyRecorded())
}

func (a *app) policyLint() *cobra.Command {
	var names []string
	var live bool
	var failOn, explain string
	cmd := &cobra.Command{
		Use: "lint -f FILE | --live", Short: "Name what is legal in resources and yet unwise", Args: cobra.NoArgs,
		Long: `Name what is legal in resources and yet unwise: against the best practices of
RFC 8725 and RFC 9700, and against what Mintmark's guarantees rest on.

Exit 0 when nothing as bad as --fail-on was found, 1 otherwise, 2 for resources
that apply would refuse. Suppress a finding on its line or the one above:

    # lint:ignore MM060 the site has no line to control for weeks`,
		Example: "  mintmark policy lint -f resources/ --fail-on warning\n  mintmark policy lint --live -o sarif > mintmark.sarif\n  mintmark policy lint --explain MM083",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if explain != "" {
				return a.explainRule(explain)
			}
			limit, err := lint.ParseSeverity(failOn)
			if err != nil {
				return usage(err.Error(), "")
			}
			if live == (len(names) > 0) {
				return usage("what is to be looked at?", "give either -f FILE or --live")
			}
			var files []policy.File
			if live {
				c, err := a.connect(cmd.Context())
				if err != nil {
					return err
				}
				x, err := c.Export(cmd.Context())
				if err != nil {
					return err
				}
				files = []policy.File{{Name: "(live)", Text: x.YAML}}
			} else {
				read, err := a.resourceFiles(names)
				if err != nil {
					return err
				}
				files = policyFiles(read)
			}
			set, errs := policy.Parse(files)
			if len(errs) == 0 {
				errs = policy.Check(set)
			}
			if len(errs) > 0 {
				return problemOf(errs)
			}
			return a.print(a.findings(lint.Check(set, files), limit))
		},
	}
	cmd.Flags().StringSliceVarP(&names, "file", "f", nil, "file, directory, or - for standard input")
	cmd.Flags().BoolVar(&live, "live", false, "look at what is in force at control")
	cmd.Flags().StringVar(&failOn, "fail-on", string(lint.Error), "severity from which on to exit with 1: error, warning or note")
	cmd.Flags().StringVar(&explain, "explain", "", "say why a rule is one, by id or name")
	_ = cmd.RegisterFlagCompletionFunc("explain", func(*cobra.Command, []string, string) (out []string, _ cobra.ShellCompDirective) {
		for _, r := range lint.Rules() {
			out = append(out, r.ID+"\t"+r.Name)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"error", "warning", "note"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// findings shows those that are not suppressed as a table, and all as JSON.
func (a *app) findings(found []lint.Finding, limit lint.Severity) result {
	r := result{value: map[string]any{"findings": found}, forms: map[string]func() ([]byte, error){
		"sarif": func() ([]byte, error) { return lint.SARIF(found, a.Version) },
	}}
	r.table = table{head: []string{"SEVERITY", "RULE", "WHERE", "WHAT", "FIX"}, wide: 4}
	bySeverity := map[lint.Severity]int{}
	suppressed := 0
	for _, f := range found {
		if f.Suppressed != "" {
			suppressed++
			continue
		}
		bySeverity[f.Severity]++
		if f.Severity.AtLeast(limit) {
			r.exit = 1
		}
		what := f.Message
		if f.Line > 0 && f.Resource != "" {
			what = f.Resource + ": " + what
		}
		r.table.rows = append(r.table.rows, []string{string(f.Severity), f.Rule + " " + f.Name, f.Location(), what, f.Fix})
	}
	if len(r.table.rows) == 0 {
		r.table = table{}
	}
	counts := []string{many(bySeverity[lint.Error], "error"), many(bySeverity[lint.Warning], "warning"), many(bySeverity[lint.Note], "note")}
	if suppressed > 0 {
		counts = append(counts, fmt.Sprintf("%d suppressed", suppressed))
	}
	r.notes = []string{strings.Join(counts, ", ")}
	if len(r.table.rows) > 0 {
		r.notes = append(r.notes, "why and what to do: mintmark policy lint --explain "+strings.Fields(r.table.rows[0][1])[0]+", or -o wide")
	}
	return r
}

func (a *app) explainRule(id string) error {
	r, ok := lint.Describe(id)
	if !ok {
		return usage(quote(id)+" is no rule", "see docs/lint.md for all of them")
	}
	return a.print(result{
		value: map[string]string{"id": r.ID, "name": r.Name, "severity": string(r.Severity), "why": r.Why, "fix": r.Fix, "source": r.Source},
		table: pairs("rule", r.ID+" "+r.Name, "severity", string(r.Severity), "why", r.Why, "fix", r.Fix, "source", r.Source),
	})
}
