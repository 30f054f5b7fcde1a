package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

const (
	// gatePoll is the longest that one question about a gate is held by control.
	gatePoll = 30 * time.Second
	// gateRetry and gateRetryMax bound the pause before control is asked again after
	// it could not be reached.
	gateRetry    = time.Second
	gateRetryMax = 10 * time.Second
	// verdictUnknown stands in files for pipelines where there is no verdict, because
	// control did not answer. It is never a pass.
	verdictUnknown = "unknown"
)

// gate is the command rollout gate while it runs.
type gate struct {
	a        *app
	id       mintmark.RolloutID
	wait     bool
	failOpen bool
	files    []string // FORM=FILE
	results  string   // directory of Tekton's results
	last     string   // the progress line told last
}

func (a *app) rolloutGate() *cobra.Command {
	g := gate{a: a}
	cmd := a.call(call{
		use: "gate ID|SERVICE", short: "Ask whether a pipeline may go on: exits 0 pass, 10 fail, 11 inconclusive, 12 wait", args: cobra.ExactArgs(1), complete: rolloutNames,
		long: "Waits up to --timeout for a verdict about the candidate, telling on standard error what it waits for, and prints\n" +
			"the verdict. Control may be away for a while: it is asked again until the time is over, and then the exit code is 31.\n\n" +
			"Outputs for pipelines, by -o or, several at once, by --write FORM=FILE:\n" +
			"  junit   a test suite of one case (Jenkins, GitLab)\n" +
			"  sarif   a SARIF 2.1.0 log (code scanning)\n" +
			"  dotenv  MINTMARK_VERDICT and its like (GitLab)\n" +
			"  github  step outputs, job summary and an annotation (GITHUB_OUTPUT, GITHUB_STEP_SUMMARY)\n" +
			"  tekton  one file for each result, in --results-dir",
		example: "  mintmark rollout gate orders --timeout 30m --write junit=gate.xml --write dotenv=gate.env",
		forms:   gateForms(),
		endless: func() bool { return true }, // bounded by ask
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.BoolVar(&g.wait, "wait", true, "wait for a verdict, up to --timeout; false asks once")
			f.BoolVar(&g.failOpen, "fail-open", false, "exit 0 although control can't be reached (30, 31): the pipeline goes on unjudged")
			f.StringArrayVar(&g.files, "write", nil, "also write the verdict to a file: FORM=FILE; again for more")
			f.StringVar(&g.results, "results-dir", "/tekton/results", "where -o tekton writes its files")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			v, err := g.ask(ctx, c)
			if err != nil {
				return result{}, err
			}
			return g.tell(v, api.ExitVerdict(v.Verdict))
		},
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g.id = mintmark.RolloutID(args[0])
		if err := g.checkFiles(); err != nil {
			return err
		}
		return g.unanswered(run(cmd, args))
	}
	return cmd
}

// ask returns the verdict: the first that is not wait, or the last one known when
// the time is over.
func (g *gate) ask(ctx context.Context, c *api.Client) (*api.Gate, error) {
	limit, cancel := context.WithTimeout(ctx, g.a.timeout)
	defer cancel()
	pause := gateRetry
	for {
		end, _ := limit.Deadline()
		left := time.Until(end)
		hold := time.Duration(0)
		if g.wait && left > 2*time.Second {
			hold = min(gatePoll, left-time.Second).Truncate(time.Millisecond)
		}
		v, err := c.RolloutGate(limit, g.id, hold)
		switch {
		case ctx.Err() != nil:
			return nil, api.NewProblem(api.CodeInterrupted, "interrupted while waiting for a verdict", "")
		case err == nil && (v.Verdict != api.VerdictWait || !g.wait):
			return v, nil
		case err == nil:
			g.progress(waitingFor(v))
			pause = gateRetry
		case !transient(err):
			return nil, err
		case !g.wait:
			return nil, unreached(err)
		default:
			g.progress("no answer: " + err.Error())
			pause = min(2*pause, gateRetryMax)
		}
		next := pause
		if err == nil && hold > 0 {
			next = 0 // control held the question already
		}
		if left = time.Until(end); left <= next || left <= 2*time.Second && err == nil {
			if err != nil {
				return nil, unreached(err)
			}
			return v, nil
		}
		select {
		case <-time.After(next):
		case <-limit.Done():
		}
	}
}

// transient reports whether asking again may help.
func transient(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && (p.Code == api.CodeUnreachable || p.Code == api.CodeUnavailable || p.Code == api.CodeOutcome)
}

// unreached makes exit 31 of whatever kept control from answering.
func unreached(err error) error {
	var p *api.Problem
	if errors.As(err, &p) && p.Code != api.CodeUnavailable {
		return err
	}
	return api.NewProblem(api.CodeUnreachable, "control gave no verdict in time: "+err.Error(), "look at control; ask again, or wait longer with --timeout")
}

// progress tells a line on standard error, once.
func (g *gate) progress(line string) {
	if g.a.quiet || line == g.last {
		return
	}
	g.last = line
	fmt.Fprintln(g.a.Stderr, "mintmark: "+plainCell(line))
}

// waitingFor is what a person wants to read meanwhile.
func waitingFor(v *api.Gate) string {
	s := fmt.Sprintf("waiting: %s of %s at %s%%", v.Candidate, v.Service, percent(v.Percent))
	if v.Alpha > 0 {
		s += fmt.Sprintf("; evidence against it %s of %s, for it %s of %s", short(v.EFail), short(1/v.Alpha), short(v.ESafe), short(1/v.Beta))
	}
	if len(v.Reasons) > 0 {
		s += "; " + v.Reasons[0]
	}
	return s
}

func percent(p float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", p), "0"), ".0")
}

// unanswered deals with what ended without a verdict: the files that were asked for
// say so, and with fail-open the pipeline goes on.
func (g *gate) unanswered(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err // a verdict, or nothing that a pipeline could be told
	}
	exit := api.Exit(err)
	if exit != api.ExitUnknown && exit != api.ExitUnreachable {
		return err
	}
	v := &api.Gate{Rollout: g.id, Verdict: verdictUnknown, Reasons: []string{p.Error()}, At: g.a.Now().UTC()}
	if !g.failOpen {
		if r, told := g.tell(v, exit); told != nil {
			return errors.Join(err, told)
		} else if f, _ := g.a.format(gateForms()...); r.forms[f] != nil {
			if told := g.a.print(r); told != nil && !errors.As(told, new(exitCode)) {
				return errors.Join(err, told)
			}
		}
		return err
	}
	v.Reasons = append(v.Reasons, "FAILED OPEN: nobody judged this candidate; --fail-open lets the pipeline go on")
	fmt.Fprintf(g.a.Stderr, "%s NO VERDICT, AND THE PIPELINE GOES ON ALL THE SAME because of --fail-open (would be exit %d)\n  %s\n",
		g.a.paint(red, "warning:"), exit, plainCell(p.Error()))
	r, err := g.tell(v, api.ExitOK)
	if err != nil {
		return err
	}
	return g.a.print(r)
}

// tell is the result for people and for every kind of pipeline; it writes the files.
func (g *gate) tell(v *api.Gate, exit int) (result, error) {
	r := result{value: v, exit: exit, table: gateTable(v), forms: map[string]func() ([]byte, error){}}
	for _, reason := range v.Reasons {
		r.notes = append(r.notes, plainCell(reason))
	}
	for _, form := range gateForms() {
		r.forms[form] = func() ([]byte, error) { return g.form(form, v, exit) }
	}
	return r, g.writeFiles(v, exit)
}

func gateTable(v *api.Gate) table {
	t := pairs("verdict", v.Verdict, "rollout", string(v.Rollout), "service", v.Service, "state", v.State, "stable", v.Stable, "candidate", v.Candidate)
	if v.Service != "" {
		t.rows = append(t.rows, []string{"percent", percent(v.Percent)}, []string{"epoch", num(v.Epoch)})
	}
	if v.Alpha > 0 {
		t.rows = append(t.rows, []string{"evidence against", fmt.Sprintf("%s; fails at %s", short(v.EFail), short(1/v.Alpha))},
			[]string{"evidence for", fmt.Sprintf("%s; passes at %s", short(v.ESafe), short(1/v.Beta))},
			[]string{"subjects", fmt.Sprintf("%d candidate, %d stable", v.Exposed.Candidate, v.Exposed.Stable)})
	}
	if q := v.RateRatio; q != nil {
		hi := "unbounded"
		if q.Hi != nil {
			hi = short(*q.Hi)
		}
		t.rows = append(t.rows, []string{"metric", v.Metric}, []string{"rate ratio", fmt.Sprintf("%s (%s to %s)", short(q.Est), short(q.Lo), hi)})
	}
	if v.Receipt != "" {
		t.rows = append(t.rows, []string{"receipt", string(v.Receipt)})
	}
	return t
}
