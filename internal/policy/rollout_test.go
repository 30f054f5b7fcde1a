package policy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const wholeRollout = `apiVersion: mintmark/v1
kind: Rollout
name: orders-v2
service: orders
candidate: v2
strategy: canary
steps:
  - set_weight: 5
  - pause: {duration: 10m}
  - gate: {max_wait: 30m}
  - set_weight: 25.5%
  - pause: {until: approved, max_wait: 12h}
  - set_weight: "50"
  - gate: {}
promote: automatic
finalise_after: 1h
rollback: automatic
on_inconclusive: pause
progress_deadline: 13h
analysis:
  alpha: 0.01
  beta: "0.05"
  null_ratio: 1
  max_ratio: 2
  min_exposure: 500
  max_duration: 2h
  metrics:
    - {name: server_error, weight: 3}
    - {name: latency_p99, weight: 0}
  user:
    - {name: slow_checkout, when: "latency_ms > 900 && route == 'orders/checkout'"}
  queries:
    - {name: payments, bad: "sum by (release) (payment_failures_total)", total: "sum by (release) (payments_total)", interval: 15s}
preview: {header: X-Preview, value: v2, clients: [qa]}
freeze:
  - {name: nights, from: "22:00", to: "06:00", zone: Europe/Berlin}
  - {name: year-end, begin: 2026-12-20T00:00:00Z, end: 2027-01-02T00:00:00Z}
approvals: {roles: [security, admin], count: 1, distinct: true}
dispositions: {over_scoped: revoke}
`

func TestParseRollout(t *testing.T) {
	r, errs := ParseRollout(File{"r.yaml", wholeRollout})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if len(r.Steps) != 7 || *r.Steps[3].SetWeight != 2550 || r.Analysis.Alpha != 10_000 || !r.PromotesItself() {
		t.Fatalf("%+v", r)
	}
	if s := r.Analysis.Spec(); s.Alpha != 0.01 || s.Metrics[0].Weight != 3 || s.Queries[0].IntervalMS != 15_000 {
		t.Errorf("analysis %+v", s)
	}
	// What is printed reads back as the same.
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, errs := ParseRollout(File{"r.json", string(b)})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if c, _ := json.Marshal(again); string(c) != string(b) {
		t.Errorf("read back:\n%s\n%s", c, b)
	}
}

// Every contradiction is found, at its line, and says how to mend it.
func TestRolloutRefused(t *testing.T) {
	for _, c := range []struct{ from, to, at, says string }{
		{"set_weight: 25.5%", "set_weight: 4", "11:17", "4% is less than the 5% before"},
		{"set_weight: 25.5%", "set_weight: 5", "11:17", "5% is the share already"},
		{"set_weight: 25.5%", "set_weight: 101", "11:17", "not a share"},
		{"set_weight: 25.5%", "set_weight: 0.001", "11:17", "not a share"},
		{"pause: {duration: 10m}", "set_weight: 6", "9:17", "follows another set_weight at once"},
		{"pause: {duration: 10m}", "pause: {}", "9:12", "neither how long nor until when"},
		{"pause: {duration: 10m}", "pause: {duration: 13h}", "9:23", "progress_deadline"},
		{"pause: {duration: 10m}", "pause: {duration: 10m, until: approved}", "9:12", "both duration and until"},
		{"pause: {duration: 10m}", "{pause: {duration: 10m}, gate: {}}", "9:5", "says 2 things"},
		{"pause: {duration: 10m}", "pause: {duration: 2h}", "26:17", "would be over before it is reached"},
		{"strategy: canary", "strategy: blue-green", "8:17", "a blue-green rollout has no share"},
		{"  - set_weight: 5\n", "", "9:11", "nothing that the analysis could compare"},
		{"strategy: canary", "strategy: shadow", "6:11", "must say what is copied"},
		{"strategy: canary", "strategy: rainbow", "6:11", "not known here"},
		{"approvals:", "apprvals:", "38:1", "did you mean approvals?"},
		{"approvals: {roles: [security, admin], count: 1, distinct: true}\n", "", "8:3", "nobody is named who may give it"},
		{"  - pause: {until: approved, max_wait: 12h}\n", "  - pause: {duration: 1m}\n", "38:12", "no step waits for them"},
		{"name: server_error", "name: server_errors", "28:14", "did you mean server_error?"},
		{"alpha: 0.01", "alpha: 0.6", "21:10", "want a probability"},
		{"max_ratio: 2", "max_ratio: 1", "24:14", "want a rate ratio above null_ratio"},
		{"rollback: automatic\non_inconclusive: pause", "rollback: manual\non_inconclusive: rollback", "18:18", "merely inconclusive would be taken back"},
		{"value: v2, ", "", "34:10", "go together"},
		{"header: X-Preview", "header: Authorization", "34:19", "has a meaning of its own"},
		{"zone: Europe/Berlin", "zone: Europe/Berlln", "36:54", "there is no time zone"},
		{`to: "06:00"`, `to: "6"`, "36:5", "times of day"},
		{"end: 2027-01-02T00:00:00Z", "end: 2025-01-02T00:00:00Z", "37:56", "is not after begin"},
		{"over_scoped: revoke", "overscoped: revoke", "39:28", "did you mean over_scoped?"},
		{"roles: [security, admin]", "roles: [boss]", "38:21", "not known here"},
	} {
		_, errs := ParseRollout(File{"r.yaml", strings.Replace(wholeRollout, c.from, c.to, 1)})
		found := false
		for _, e := range errs {
			found = found || e.Location() == "r.yaml:"+c.at && strings.Contains(e.Error(), c.says)
		}
		if !found {
			t.Errorf("%s: %v; want %s %q", c.to, errs, c.at, c.says)
		}
	}
	without := strings.Replace(wholeRollout, wholeRollout[strings.Index(wholeRollout, "analysis:"):strings.Index(wholeRollout, "preview:")], "", 1)
	_, errs := ParseRollout(File{"r.yaml", without})
	if len(errs) != 3 || errs[0].Line != 10 || errs[1].Line != 14 || errs[2].Line != 15 {
		t.Errorf("gates without analysis: %v", errs)
	}
	for _, many := range []string{"", wholeRollout + "---\n" + strings.Replace(wholeRollout, "name: orders-v2", "name: b", 1), "apiVersion: mintmark/v1\nkind: Guard\nname: g\n"} {
		if _, errs := ParseRollout(File{"r.yaml", many}); len(errs) != 1 {
			t.Errorf("%.40q: %v", many, errs)
		}
	}
}

// The schema that editors go by takes what the parser takes.
func TestRolloutSchema(t *testing.T) {
	s, err := Schema(KindRollout)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(wholeRollout, "2026-12-20T00:00:00Z, end: 2027-01-02T00:00:00Z", `"2026-12-20T00:00:00Z", end: "2027-01-02T00:00:00Z"`)), &doc); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(doc); err != nil {
		t.Error(err)
	}
}

func FuzzParseRollout(f *testing.F) {
	f.Add(wholeRollout)
	f.Add("apiVersion: mintmark/v1\nkind: Rollout\nname: x\nservice: s\ncandidate: v2\nstrategy: shadow\nshadow: {percent: 10}\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, errs := ParseRollout(File{"f.yaml", text})
		if (r == nil) != (len(errs) > 0) {
			t.Fatal("neither or both")
		}
		for _, e := range errs {
			if e.Message == "" || e.Line == 0 && !strings.Contains(e.Message, "larger") {
				t.Fatalf("an error that says too little: %+v", e)
			}
		}
	})
}

// The example of the documentation is a file that starts.
func TestRolloutInDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/rollouts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	if _, errs := ParseRollout(File{"docs/rollouts.md", text}); len(errs) > 0 {
		t.Error(errs)
	}
}
