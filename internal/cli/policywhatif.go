package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/whatif"
)

// liveName stands for what is in force at control.
const liveName = "live"

func (a *app) policyDiff() *cobra.Command {
	var prune bool
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Say what differs between two sets of resources, by meaning, and who is affected", Args: cobra.ExactArgs(2),
		Long: `Say what differs between two sets of resources, by meaning: the order of lists that are sets does not matter, an
inherited change shows at every policy that inherits it, and each difference names the services, releases and clients
that depend on it. A and B are files, directories, - or live, which is what control has in force. Compared with
live, B is taken as apply would: what it does not name stays, unless --prune.`,
		Example: "  mintmark policy diff live resources/\n  mintmark policy diff old.yaml new.yaml -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := a.resourceSet(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			to, err := a.resourceSet(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			if args[0] == liveName && args[1] != liveName {
				to = from.Merge(to, prune)
			}
			for _, s := range []policy.Set{from, to} {
				if errs := policy.Check(s); len(errs) > 0 {
					return problemOf(errs)
				}
			}
			found, err := whatif.Compare(from, to)
			if err != nil {
				return err
			}
			return a.print(differences(found))
		},
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "what B does not name is removed, as by apply --prune")
	return cmd
}

// resourceSet reads files, or what is in force.
func (a *app) resourceSet(ctx context.Context, name string) (policy.Set, error) {
	var files []policy.File
	if name == liveName {
		c, err := a.connect(ctx)
		if err != nil {
			return policy.Set{}, err
		}
		x, err := c.Export(ctx)
		if err != nil {
			return policy.Set{}, err
		}
		files = []policy.File{{Name: "(live)", Text: x.YAML}}
	} else {
		read, err := a.resourceFiles([]string{name})
		if err != nil {
			return policy.Set{}, err
		}
		files = policyFiles(read)
	}
	set, errs := policy.Parse(files)
	if len(errs) > 0 {
		return set, problemOf(errs)
	}
	return set, nil
}

func differences(found []whatif.Difference) result {
	if found == nil {
		found = []whatif.Difference{}
	}
	r := result{value: map[string]any{"differences": found}, table: table{head: []string{"RESOURCE", "VERB", "FIELD", "FROM", "TO", "SERVICES", "RELEASES", "CLIENTS"}, wide: 5}}
	for i := range found {
		d := &found[i]
		row := func(field, from, to string) {
			r.table.rows = append(r.table.rows, []string{d.Kind + "/" + d.Name, d.Verb, field, from, to, join(d.Services), join(d.Releases), join(d.Clients)})
		}
		if len(d.Fields) == 0 {
			row("", "", "")
		}
		for _, f := range d.Fields {
			from, to := string(f.Old), string(f.New)
			if f.Old == nil && f.New == nil {
				from, to = signed("-", f.Removed), signed("+", f.Added)
			}
			row(f.Path, from, to)
		}
		for _, n := range d.Notes {
			r.notes = append(r.notes, d.Kind+"/"+d.Name+": "+plainCell(n))
		}
		if len(d.Clients) > 0 {
			r.notes = append(r.notes, d.Kind+"/"+d.Name+": concerns "+many(int64(len(d.Clients)), "client")+": "+plainCell(strings.Join(d.Clients[:min(len(d.Clients), 10)], ", ")))
		}
	}
	if len(found) == 0 {
		r.table = table{}
		r.notes = []string{"no difference"}
	}
	return r
}

func signed(sign string, list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = sign + s
	}
	return strings.Join(out, " ")
}

// simulating holds the flags of policy simulate.
type simulating struct {
	q      api.SimulateRequest
	names  []string
	file   string
	live   time.Duration
	failOn string
}

func (a *app) policySimulate() *cobra.Command {
	var s simulating
	cmd := &cobra.Command{
		Use: "simulate -f FILE [--recorded DUR | --live DUR | --file RECORDS]", Short: "Try resources on recorded or live traffic: who would be refused, who admitted", Args: cobra.NoArgs,
		Long: `Try resources on the traffic that gateways recorded, by the code that gateways decide with; nothing is changed. Records are
samples without tokens, subjects and paths: what they can't tell, such as whether a signature is good, is taken to be as it was.

With --recorded and --live control judges as if the files were applied to what is in force. With --file the files must be
complete and stand by themselves, no control is needed, and what is compared with is what gateways answered then.

Exit 0 when nothing that --fail-on names would change, 1 otherwise, 2 for resources that apply would refuse.`,
		Example: "  mintmark policy simulate -f next.yaml --recorded 24h\n  mintmark policy simulate -f next.yaml --live 5m\n" +
			"  mintmark policy recorded > records.jsonl && mintmark policy simulate -f resources/ --file records.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.simulate(cmd.Context(), &s) },
	}
	f := cmd.Flags()
	f.StringSliceVarP(&s.names, "resources", "f", nil, "resources to try: a file, a directory, or - for standard input")
	f.StringVar(&s.q.Recorded, "recorded", "", "how far back to go, such as 1h (default: everything that is kept)")
	f.DurationVar(&s.live, "live", 0, "judge what comes in from now on, for this long")
	f.StringVar(&s.file, "file", "", "judge the records in this file (see policy recorded); needs no control")
	f.StringVar(&s.q.Service, "service", "", "judge requests of this service only")
	f.BoolVar(&s.q.Prune, "prune", false, "what the files do not name is removed, as by apply --prune")
	f.StringVar(&s.failOn, "fail-on", "any", "exit 1 on: any (refused or admitted), refused, admitted or none")
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"any", "refused", "admitted", "none"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) simulate(ctx context.Context, s *simulating) error {
	if !slices.Contains([]string{"any", "refused", "admitted", "none"}, s.failOn) {
		return usage("unknown --fail-on "+quote(s.failOn), "want any, refused, admitted or none")
	}
	ways := 0
	for _, given := range []bool{s.q.Recorded != "", s.live != 0, s.file != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 || s.live < 0 {
		return usage("what traffic is to be judged?", "give one of --recorded DUR, --live DUR and --file RECORDS")
	}
	files, err := a.resourceFiles(s.names)
	if err != nil {
		return err
	}
	set, errs := policy.Parse(policyFiles(files))
	if len(errs) > 0 {
		return problemOf(errs)
	}
	if s.file != "" {
		return a.simulateFile(s, set)
	}
	s.q.Files = files
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	if s.live > 0 {
		return a.simulateLive(ctx, c, s)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout+5*time.Second)
	defer cancel()
	found, err := c.Simulate(ctx, s.q)
	if err != nil {
		return err
	}
	return a.print(simulated(found, s.failOn))
}

// simulateFile judges records from a file, without control.
func (a *app) simulateFile(s *simulating, set policy.Set) error {
	if errs := policy.Check(set); len(errs) > 0 {
		return problemOf(errs)
	}
	compiled, err := policy.Compile(set, policy.Versions(policy.Set{}, nil, set))
	if err != nil {
		return usage(err.Error(), "")
	}
	parts := []any{&compiled.Issuers}
	for i := range compiled.Services {
		parts = append(parts, &compiled.Services[i])
	}
	m, bodies, err := epoch.Build(parts...)
	if err != nil {
		return usage(err.Error(), "")
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		return usage(err.Error(), "")
	}
	text, err := a.readInput(s.file, maxRecords)
	if err != nil {
		return err
	}
	shapes, err := whatif.Read(strings.NewReader(string(text)))
	if err != nil {
		return usage(s.file+": "+err.Error(), "write one with: mintmark policy recorded > FILE")
	}
	if s.q.Service != "" {
		shapes = slices.DeleteFunc(shapes, func(x whatif.Shape) bool { return !strings.HasPrefix(x.Route, s.q.Service+"/") })
	}
	report := whatif.Simulate(nil, table, shapes, a.Now())
	return a.print(simulated(report.Answer(), s.failOn))
}

// maxRecords bounds a file of records, in bytes.
const maxRecords = 256 << 20

// simulateLive asks again and again about what came in since it began.
func (a *app) simulateLive(ctx context.Context, c *api.Client, s *simulating) error {
	begun := a.Now()
	s.q.Since = &begun
	end := time.NewTimer(s.live)
	defer end.Stop()
	tick := time.NewTicker(min(10*time.Second, max(s.live/4, time.Second)))
	defer tick.Stop()
	var last []string
	for over := false; !over; {
		select {
		case <-tick.C:
		case <-end.C:
			over = true
		case <-ctx.Done():
			return ctx.Err()
		}
		ask, cancel := context.WithTimeout(ctx, a.timeout+5*time.Second)
		found, err := c.Simulate(ask, s.q)
		cancel()
		if err != nil {
			return err
		}
		if over {
			return a.print(simulated(found, s.failOn))
		}
		if lines := []string{progress(found, a.Now().Sub(begun), s.live)}; !a.quiet && !slices.Equal(last, lines) {
			a.redraw(last, lines)
			last = lines
		}
	}
	return nil
}

func progress(s *api.Simulation, gone, of time.Duration) string {
	return fmt.Sprintf("%s of %s: %s judged (%s); %d newly refused, %d newly admitted", gone.Truncate(time.Second), of, many(s.Requests, "request"), many(int64(s.Shapes), "record"), s.Refused, s.Admitted)
}

// simulated shows what would change.
func simulated(s *api.Simulation, failOn string) result {
	r := result{value: s, table: table{head: []string{"CHANGE", "REQUESTS", "CLIENT", "ROUTE", "METHOD", "MINTED BY", "BEFORE", "AFTER", "ISSUER", "SERVED BEFORE", "SERVED AFTER", "RECORDS"}, wide: 8}}
	for i := range s.Rows {
		w := &s.Rows[i]
		r.table.rows = append(r.table.rows, []string{strings.ReplaceAll(w.Change, "_", " "), "~" + num(w.Requests), first(string(w.Client), "-"), w.Route, w.Method, string(w.Release), w.Before, w.After, w.Issuer, string(w.ServedBefore), string(w.ServedAfter), num(w.Shapes)})
	}
	if len(r.table.rows) == 0 {
		r.table = table{}
	}
	r.notes = []string{fmt.Sprintf("%s judged, standing for some %s: ~%d newly refused, ~%d newly admitted, ~%d refused for another reason, ~%d served by another release",
		many(int64(s.Shapes), "record"), many(s.Requests, "request"), s.Refused, s.Admitted, s.Reasons, s.Releases)}
	if s.Shapes == 0 {
		r.notes = []string{"no request was recorded in that time: nothing can be said"}
	}
	if s.Assumed > 0 {
		r.notes = append(r.notes, fmt.Sprintf("~%d were refused for what a record can't tell (signature, expiry, revocation): taken to be as they were", s.Assumed))
	}
	if s.Drifted > 0 {
		r.notes = append(r.notes, fmt.Sprintf("~%d were admitted then and would not be by the policy in force now: it has changed since, or a record does not say enough", s.Drifted))
	}
	if s.More > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%d more rows were left out", s.More))
	}
	for _, w := range s.Warnings {
		r.notes = append(r.notes, "warning: "+plainCell(w))
	}
	if s.Refused > 0 && (failOn == "any" || failOn == "refused") || s.Admitted > 0 && (failOn == "any" || failOn == "admitted") {
		r.exit = api.ExitFailed
	}
	return r
}

func (a *app) policyRecorded() *cobra.Command {
	var recorded, service string
	return a.call(call{
		use: "recorded", short: "Write the redacted records of requests as JSON lines, for policy simulate --file", args: cobra.NoArgs,
		long: "Records hold no token, no subject in clear, no path and no value of a claim. Control keeps the newest in memory, for a day at most.",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&recorded, "recorded", "", "how far back to go, such as 1h (default: everything that is kept)")
			cmd.Flags().StringVar(&service, "service", "", "of this service only")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			x, err := c.Recorded(ctx, recorded, service)
			if err != nil {
				return result{}, err
			}
			r := result{value: x}
			for _, line := range x.Records {
				r.notes = append(r.notes, string(line))
			}
			return r, nil
		},
	})
}
