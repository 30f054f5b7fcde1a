package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/policy"
)

// starting holds the flags of rollout start.
type starting struct {
	req            api.RolloutRequest
	w              waiting
	file, planFile string
	steps, promote string
	approvers      []string
	manual         bool
}

func (a *app) rolloutStart() *cobra.Command {
	var s starting
	return a.call(call{
		use: "start SERVICE CANDIDATE | start -f FILE", short: "Start a rollout of a service to a candidate release",
		long: "A file of kind Rollout says everything; see mintmark schema Rollout. For the common case flags do: --steps takes\n" +
			"shares in percent, lengths of time, gate (the analysis must say pass) and approval, in their order.",
		args: cobra.RangeArgs(0, 2),
		example: "  mintmark rollout start orders v2 --strategy canary --weight 5 --reason 'v2 of orders'\n" +
			"  mintmark rollout start orders v2 --steps 5,10m,gate,25,approval,50,gate --approver security\n" +
			"  mintmark rollout plan orders v2 -o json > plan.json && mintmark rollout start -f rollout.yaml --plan plan.json\n" +
			"  mintmark rollout start orders v2 --dry-run",
		flags: func(cmd *cobra.Command) {
			s.w.flags(cmd, true)
			f := cmd.Flags()
			f.StringVarP(&s.file, "file", "f", "", "file of kind Rollout; - is standard input")
			f.StringVar(&s.req.Strategy, "strategy", "", "blue-green (default), canary or shadow")
			f.StringVar(&s.req.Weight, "weight", "", "first share of a canary that people move, in percent")
			f.StringVar(&s.steps, "steps", "", "steps of a canary, such as 5,10m,gate,25,approval,50,gate")
			f.StringSliceVar(&s.approvers, "approver", nil, "roles that may approve, for steps with approval")
			f.StringVar(&s.promote, "promote", "", "after the last step: automatic (default when there is a gate) or manual")
			f.BoolVar(&s.manual, "manual-rollback", false, "a failing health pauses the rollout in place of taking it back")
			f.StringVar(&s.planFile, "plan", "", "file with a plan (rollout plan -o json): refuse when the state moved since")
			f.BoolVar(&s.req.Unsafe, "unsafe", false, "although rolling back would strand harmless tokens")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if err := a.fillStart(&s, args); err != nil {
				return result{}, err
			}
			if s.w.dryRun {
				return plan(c.PlanRollout(ctx, s.req.Service, s.req.Candidate))
			}
			s.req.Reason, s.req.Wait, s.req.Timeout = s.w.reason, s.w.wait, a.bound()
			return rolloutAnswer(c.StartRollout(ctx, s.req))
		},
	})
}

// fillStart makes the request out of a file or flags; what is wrong with either is
// found before anything is sent.
func (a *app) fillStart(s *starting, args []string) error {
	if (s.file == "") == (len(args) == 0) || len(args) == 1 {
		return usage("name a service and a candidate, or a file", "mintmark rollout start SERVICE CANDIDATE, or start -f FILE")
	}
	if s.file != "" && (s.steps != "" || s.req.Strategy != "" || s.req.Weight != "" || s.promote != "" || s.manual) {
		return usage("flags about the strategy do not go with -f", "write them into the file")
	}
	if s.planFile != "" {
		b, err := a.readInput(s.planFile, maxResources)
		if err != nil {
			return err
		}
		s.req.Plan = new(api.Plan)
		if err := json.Unmarshal(b, s.req.Plan); err != nil || s.req.Plan.Digest == "" {
			return usage(s.planFile+" does not hold a plan", "write one: mintmark rollout plan SERVICE CANDIDATE -o json > FILE")
		}
	}
	switch {
	case s.file != "":
		b, err := a.readInput(s.file, maxResources)
		if err != nil {
			return err
		}
		s.req.File = &api.File{Name: s.file, Text: string(b)}
	case s.steps != "" || s.promote != "":
		text, err := s.document(args[0], args[1])
		if err != nil {
			return err
		}
		s.req.File = &api.File{Name: "(flags)", Text: text}
		s.req.Strategy = ""
	default:
		s.req.Service, s.req.Candidate, s.req.ManualRollback = args[0], args[1], s.manual
		if s.req.Weight != "" && s.req.Strategy == "" {
			s.req.Strategy = "canary"
		}
		return nil
	}
	r, errs := policy.ParseRollout(policy.File{Name: s.req.File.Name, Text: s.req.File.Text})
	if len(errs) > 0 {
		return pointed(problemOf(errs), s.req.File.Text, errs)
	}
	s.req.Service, s.req.Candidate = r.Service, r.Candidate
	return nil
}

// document writes the flags as a document of kind Rollout, so that there is one way
// in which a rollout is described.
func (s *starting) document(service, candidate string) (string, error) {
	if s.req.Weight != "" {
		return "", usage("--weight does not go with --steps", "make it the first step")
	}
	doc := map[string]any{
		"apiVersion": policy.APIVersion, "kind": policy.KindRollout, "name": service + "-" + candidate, "service": service, "candidate": candidate,
		"strategy": first(s.req.Strategy, "canary"),
	}
	var steps []any
	gates := false
	for _, word := range strings.FieldsFunc(s.steps, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch {
		case word == "gate":
			gates = true
			steps = append(steps, map[string]any{"gate": map[string]any{}})
		case word == "approval":
			steps = append(steps, map[string]any{"pause": map[string]any{"until": "approved"}})
		case strings.IndexByte("0123456789.%", word[len(word)-1]) >= 0:
			steps = append(steps, map[string]any{"set_weight": word})
		default:
			steps = append(steps, map[string]any{"pause": map[string]any{"duration": word}})
		}
	}
	if len(steps) > 0 {
		doc["steps"] = steps
	}
	if gates || s.promote == "automatic" {
		doc["analysis"] = map[string]any{}
	}
	if s.promote != "" {
		doc["promote"] = s.promote
	}
	if s.manual {
		doc["rollback"] = "manual"
	}
	if len(s.approvers) > 0 {
		doc["approvals"] = map[string]any{"roles": s.approvers}
	}
	b, err := json.Marshal(doc)
	return string(b), err
}

// pointed shows the line of each mistake, and where in it.
func pointed(err error, text string, errs policy.Errors) error {
	p, ok := err.(*api.Problem)
	if !ok || len(p.Errors) != len(errs) {
		return err
	}
	lines := strings.Split(text, "\n")
	for i, e := range errs {
		if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || len(lines[e.Line-1]) > 200 {
			continue
		}
		line := plainCell(strings.TrimRight(strings.ReplaceAll(lines[e.Line-1], "\t", " "), "\r"))
		pad := min(e.Col-1, utf8.RuneCountInString(line))
		p.Errors[i].Message += fmt.Sprintf("\n    %s\n    %s^", line, strings.Repeat(" ", pad))
	}
	return p
}
