package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// lookEvery is how often rollout status --watch and --wait look.
const lookEvery = time.Second

func (a *app) rolloutStatus() *cobra.Command {
	var watch, wait bool
	return a.call(call{
		use: "status ID|SERVICE", short: "Show a rollout, its steps, its health and its live tokens", args: cobra.ExactArgs(1), complete: rolloutNames,
		long: "--watch shows it again whenever it changes, until it is over or interrupted. --wait returns once there is a verdict,\n" +
			"or --timeout is over; its exit code is the gate's: 0 pass, 10 fail, 11 inconclusive, 12 wait.",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on showing it until it is over")
			cmd.Flags().BoolVar(&wait, "wait", false, "wait for a verdict, up to --timeout; exits with the gate's code")
		},
		endless: func() bool { return watch && !wait },
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			id := mintmark.RolloutID(args[0])
			if wait {
				ctx, cancel := context.WithTimeout(ctx, a.timeout)
				defer cancel()
				return a.followRollout(ctx, c, id, watch, func(r *api.Rollout, g *api.Gate) bool { return g.Verdict != api.VerdictWait })
			}
			if watch {
				return a.followRollout(ctx, c, id, true, func(r *api.Rollout, _ *api.Gate) bool { return r.State == "finalised" || r.State == "rolled_back" })
			}
			r, err := c.Rollout(ctx, id)
			if err != nil {
				return result{}, err
			}
			g, err := c.RolloutGate(ctx, r.ID, 0)
			if err != nil {
				return result{}, err
			}
			out := result{value: r, table: rolloutPairs(r), notes: append([]string{""}, tree(r, g, a.Now())...)}
			for _, l := range r.Live {
				out.notes = append(out.notes, strings.TrimSpace(fmt.Sprintf("live: %s of %s %s", many(l.Tokens, "token"), l.Release, l.Class)))
			}
			return out, nil
		},
	})
}

// followRollout looks at a rollout until done says so or ctx ends. Control may go
// away meanwhile: that is told only when it is not back by the end.
func (a *app) followRollout(ctx context.Context, c *api.Client, id mintmark.RolloutID, show bool, done func(*api.Rollout, *api.Gate) bool) (result, error) {
	var r *api.Rollout
	var g *api.Gate
	var last []string
	var failed error
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		newR, newG, err := look(ctx, c, id)
		var p *api.Problem
		switch {
		case err == nil:
			r, g, failed = newR, newG, nil
			if lines := tree(r, g, a.Now()); show && !a.quiet && !slices.Equal(lines, last) {
				a.redraw(last, lines)
				last = lines
			}
		case ctx.Err() != nil:
		case errors.As(err, &p) && p.Code != api.CodeUnreachable && p.Code != api.CodeUnavailable && p.Code != api.CodeOutcome:
			return result{}, err
		default:
			failed = err
		}
		if r != nil && failed == nil && done(r, g) {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		if failed != nil || r == nil {
			return result{}, first2(failed, err)
		}
		break
	}
	out := result{value: g, exit: api.ExitVerdict(g.Verdict)}
	if !show {
		out.notes = tree(r, g, a.Now())
	}
	return out, nil
}

func first2(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func look(ctx context.Context, c *api.Client, id mintmark.RolloutID) (*api.Rollout, *api.Gate, error) {
	r, err := c.Rollout(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.RolloutGate(ctx, r.ID, 0)
	return r, g, err
}

// redraw shows lines in place of the last ones at a terminal, and below them
// elsewhere. Programs read the value at the end.
func (a *app) redraw(last, lines []string) {
	if f, err := a.format(); err != nil || f == "json" || f == "yaml" {
		return
	}
	if a.Color && len(last) > 0 {
		fmt.Fprintf(a.Stdout, "\x1b[%dA\x1b[J", len(last))
	}
	fmt.Fprintln(a.Stdout, strings.Join(lines, "\n"))
}

func (a *app) rolloutHistory() *cobra.Command {
	return a.call(call{
		use: "history ID|SERVICE", short: "List what was done to a rollout, by whom and why", args: cobra.ExactArgs(1), complete: rolloutNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			r, err := c.Rollout(ctx, mintmark.RolloutID(args[0]))
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"AT", "WHAT", "PERCENT", "ACTOR", "WHY", "EPOCH", "SEQ", "RECEIPT"}, wide: 5}
			for _, h := range r.History {
				t.rows = append(t.rows, []string{at(h.At), h.Verb, h.Percent, h.Actor, h.Reason, num(h.Epoch), num(h.Seq), string(h.Receipt)})
			}
			return show(r.History, t, nil)
		},
	})
}

func (a *app) rolloutExplain() *cobra.Command {
	return a.call(call{
		use: "explain ID|SERVICE", short: "Say why a rollout was taken back: the metric, the evidence over time, the ratio with bounds", args: cobra.ExactArgs(1), complete: rolloutNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			r, err := c.Rollout(ctx, mintmark.RolloutID(args[0]))
			if err != nil {
				return result{}, err
			}
			e, step := decisive(r)
			notes := append([]string{fmt.Sprintf("%s of %s to %s: %s", r.ID, r.Service, r.Candidate, strings.ReplaceAll(r.State, "_", " "))}, explained(r)...)
			if step != nil && step.Receipt != "" {
				notes = append(notes, "", "what it did at each gateway: mintmark receipt get "+string(step.Receipt))
			}
			return result{value: struct {
				Rollout  mintmark.RolloutID `json:"rollout"`
				State    string             `json:"state"`
				Step     *api.RolloutStep   `json:"step,omitempty"`
				Evidence *mintmark.Evidence `json:"evidence,omitempty"`
			}{r.ID, r.State, step, e}, notes: notes}, nil
		},
	})
}
