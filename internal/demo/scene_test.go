package demo

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func plain(_, text string) string { return text }

func aScene() *scene {
	s := &scene{clients: 300, streams: 12, stable: new(gauge), canary: new(gauge), fleet: &api.Gateways{Head: 7}}
	at := time.Unix(0, 0)
	for i := range 60 {
		s.stable.read(int64(i*i), at)
		at = at.Add(time.Second / 2)
	}
	for _, id := range []string{"gw-a", "gw-b", "gw-c"} {
		s.fleet.Gateways = append(s.fleet.Gateways, api.Gateway{ID: mintmark.GatewayID(id), State: "live", Seq: 7})
	}
	for i := range 100 {
		s.lines = append(s.lines, fmt.Sprintf("%3d %s", i, strings.Repeat("long ", 60)))
	}
	s.receipt = &mintmark.Receipt{ID: "rcp_1", Kind: "rollback", Outcome: mintmark.OutcomeEffective, RowHash: strings.Repeat("f", 64)}
	for range 30 {
		s.receipt.Gateways = append(s.receipt.Gateways, mintmark.GatewayReach{Gateway: "gw"})
	}
	return s
}

// TestSceneFits: whatever there is to draw, it stays within the terminal and keeps
// the keys in sight.
func TestSceneFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {100, 40}, {40, 20}, {200, 60}, {1, 1}, {80, 10}} {
		for _, receipt := range []bool{false, true} {
			s := aScene()
			s.showReceipt = receipt
			lines := s.render(size[0], size[1], plain)
			if len(lines) != size[1] {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > size[0] {
					t.Errorf("%v: too wide: %q", size, l)
				}
			}
			if text := strings.Join(lines, "\n"); size[1] >= 20 && (!strings.Contains(text, "[q] quit") || !strings.Contains(text, "next")) {
				t.Errorf("%v: the keys are out of sight:\n%s", size, text)
			}
		}
	}
}

func TestSceneSaysWhatToDoNext(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(s *scene)
		want   string
	}{
		{"at the start", func(s *scene) { s.receipt = nil }, "press c"},
		{"canary", func(s *scene) { s.rollout = &api.Rollout{State: "progressing"} }, "press s, a, t"},
		{"harm", func(s *scene) { s.rollout, s.harmful = &api.Rollout{State: "progressing"}, 3 }, "wait: Mintmark notices"},
		{"harm, by hand", func(s *scene) { s.rollout, s.harmful, s.byHand = &api.Rollout{State: "progressing"}, 3, true }, "press b"},
		{"errors", func(s *scene) { s.rollout, s.fault = &api.Rollout{State: "progressing"}, serverErrors }, "wait: Mintmark notices"},
		{"after", func(s *scene) { s.rollout = &api.Rollout{State: "rolled_back"} }, "press e"},
		{"busy", func(s *scene) { s.busy = "x" }, "…"},
	} {
		s := aScene()
		tt.change(s)
		if got := s.next(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q", tt.what, got)
		}
	}
}

func TestSceneTellsViolations(t *testing.T) {
	s := aScene()
	if text := strings.Join(s.render(100, 40, plain), "\n"); strings.Contains(text, "✖") {
		t.Errorf("nothing is wrong:\n%s", text)
	}
	s.accepted, s.harmless = 1, 2
	text := strings.Join(s.render(100, 40, plain), "\n")
	for _, want := range []string{"✖ 1 accepted after the rollback", "✖ 2 tokens refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
}
