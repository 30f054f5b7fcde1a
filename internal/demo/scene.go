package demo

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// scene is what is drawn at one moment. It decides nothing and asks nobody.
type scene struct {
	clients, streams                       int
	stable, canary                         *gauge // of the two releases
	answered, unknown, failed, unreachable int64
	harmful, refused, accepted, harmless   int64
	fault                                  fault // of the candidate
	byHand                                 bool  // people take candidates back
	gate                                   *api.Gate
	trail                                  []float64 // log10 E, oldest first
	explanation                            []string
	showWhy                                bool
	fleet                                  *api.Gateways
	rollout                                *api.Rollout // nil: none, or not known while busy
	trouble                                string       // why control did not answer
	receipt                                *mintmark.Receipt
	showReceipt                            bool
	busy                                   string // what a key began and is not over
	lines                                  []string
}

// Colours only ever stand beside a word or sign that says the same.
const (
	bold, dim, red, green, yellow, cyan = "1", "2", "31", "32", "33", "36"
)

// render draws the scene in at most height lines of at most width columns.
func (s *scene) render(width, height int, paint func(code, text string) string) []string {
	p := &page{width: width, paint: paint}
	head := fmt.Sprintf("%d clients · %.0f requests/s · %d event streams", s.clients, s.stable.last()+s.canary.last(), s.streams)
	p.line(part{bold, "Mintmark demo"}, part{"", strings.Repeat(" ", max(2, width-13-utf8.RuneCountInString(head)))}, part{"", head})
	p.line(part{dim, strings.Repeat("─", width)})
	s.top(p)
	p.line(part{dim, strings.Repeat("─", width)})
	foot := &page{width: width, paint: paint}
	s.foot(foot)
	room := max(0, height-len(p.lines)-len(foot.lines)-1)
	switch {
	case s.showReceipt:
		s.drawReceipt(p, room)
	case s.showWhy:
		s.drawWhy(p, room)
	default:
		for _, l := range s.lines[max(0, len(s.lines)-room):] {
			code := ""
			switch {
			case strings.Contains(l, "  $ "):
				code = cyan
			case strings.Contains(l, "✖"):
				code = red
			}
			p.line(part{code, l})
		}
	}
	for len(p.lines)+len(foot.lines) < height {
		p.line()
	}
	out := append(p.lines, foot.lines...)
	return out[:min(len(out), height)]
}

// top draws what is: gateways, rollout, releases, and the clients' own account.
func (s *scene) top(p *page) {
	if s.trouble != "" {
		p.line(part{bold, "control    "}, part{red, "✖ " + s.trouble})
	}
	if s.fleet != nil {
		for i, g := range s.fleet.Gateways {
			label := "           "
			if i == 0 {
				label = "gateways   "
			}
			icon, code := "✔", green
			if g.State != "live" {
				icon, code = "✖", red
			}
			p.line(part{bold, label}, part{code, fmt.Sprintf("%s %-5s %-7s", icon, g.ID, g.State)},
				part{"", fmt.Sprintf(" epoch %d   row %d of %d   lease %.1f s", g.Epoch, g.Seq, s.fleet.Head, float64(g.LeaseMS)/1000)})
		}
	}
	switch r := s.rollout; {
	case s.busy != "":
		p.line(part{bold, "rollout    "}, part{yellow, "◌ " + s.busy + " …"})
	case r == nil:
		p.line(part{bold, "rollout    "}, part{"", "none: orders/v1 has all subjects"})
	default:
		p.line(part{bold, "rollout    "}, part{"", fmt.Sprintf("%s → %s   %s   ", r.Stable, r.Candidate, strings.ReplaceAll(r.State, "_", " "))}, part{"", bar(r.Percent, 20)}, part{"", " " + r.Percent + " %"})
	}
	s.evidence(p)
	p.line(part{bold, "orders/v1  "}, part{"", s.stable.picture()})
	note := part{}
	if s.fault != healthy && s.fault != "" {
		note = part{red, "  ✖ " + string(s.fault)}
	}
	p.line(part{bold, "orders/v2  "}, part{"", s.canary.picture()}, note)
	p.line(part{bold, "clients    "}, part{"", fmt.Sprintf("answered %d   503 %d   5xx %d   unreachable %d", s.answered, s.unknown, s.failed, s.unreachable)})
	p.line(part{bold, "harmful    "}, part{"", fmt.Sprintf("%d tokens handed out   %d refused   ", s.harmful, s.refused)}, verdict(s.accepted, "accepted after the rollback"))
	p.line(part{bold, "harmless   "}, verdict(s.harmless, "tokens refused"))
}

// verdict says how often something happened that never may.
func verdict(n int64, what string) part {
	if n == 0 {
		return part{green, "✔ 0 " + what}
	}
	return part{red, fmt.Sprintf("✖ %d %s", n, what)}
}

// next is what to do now, for somebody who sees this for the first time.
func (s *scene) next() string {
	open := s.rollout != nil && s.rollout.State != "rolled_back" && s.rollout.State != "finalised"
	bad := s.harmful > 0 || s.fault != healthy && s.fault != ""
	switch {
	case s.busy != "":
		return "…"
	case open && bad && s.byHand:
		return "press b: take v2 back, with what it should not have handed out"
	case open && bad:
		return "wait: Mintmark notices, and takes v2 back by itself"
	case open:
		return "press s, a, t, 5, l or u: let v2 misbehave; p: promote it"
	case s.receipt != nil:
		return "press e: why; r: the signed receipt; c: once more; q: the clients' account"
	}
	return "press c: give orders/v2 a share of the subjects"
}

// evidence draws how sure Mintmark is that the candidate is bad.
func (s *scene) evidence(p *page) {
	g := s.gate
	if g == nil || g.Alpha <= 0 {
		return
	}
	limit := math.Log10(1 / g.Alpha)
	code := ""
	if g.Verdict == api.VerdictFail {
		code = red
	}
	text := fmt.Sprintf("%s  %s   E = %.3g, fails at %.0f", sparks(s.trail, limit), g.Verdict, g.EFail, 1/g.Alpha)
	if g.RateRatio != nil && g.Metric != "" {
		hi := "∞"
		if g.RateRatio.Hi != nil {
			hi = fmt.Sprintf("%.3g", *g.RateRatio.Hi)
		}
		est := fmt.Sprintf("%.3g", g.RateRatio.Est)
		if g.RateRatio.Est == 0 && g.RateRatio.Lo > 0 {
			est = "∞" // only the candidate has any
		}
		text += fmt.Sprintf("   %s × %s (%.3g to %s)", g.Metric, est, g.RateRatio.Lo, hi)
	}
	p.line(part{bold, "evidence   "}, part{code, text})
}

// sparks draws values from 0 to top.
func sparks(values []float64, top float64) string {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", max(0, trailLength-len(values))))
	for _, v := range values {
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[int(min(max(v/top, 0), 1)*7)])
	}
	return b.String()
}

// trailLength is how many looks at the evidence are drawn.
const trailLength = 24

// drawWhy draws what mintmark rollout explain says.
func (s *scene) drawWhy(p *page, room int) {
	first := len(p.lines)
	p.line(part{cyan, "$ mintmark rollout explain " + service})
	for _, l := range s.explanation {
		p.line(part{"", l})
	}
	p.lines = p.lines[:min(len(p.lines), first+room)]
}

// foot draws what to do now and the keys.
func (s *scene) foot(p *page) {
	p.line(part{bold, "next       "}, part{yellow, s.next()})
	var row []part
	used := 0
	for _, k := range s.keys() {
		n := utf8.RuneCountInString(k) + 4
		if used+n > p.width {
			p.line(row...)
			row, used = nil, 0
		}
		row, used = append(row, part{bold, "[" + k[:1] + "]"}, part{"", k[1:] + "  "}), used+n
	}
	p.line(row...)
}

// keys are what the keys do, each beginning with the key.
func (s *scene) keys() []string {
	out := []string{"c canary"}
	for _, t := range troubles() {
		out = append(out, string(t.key)+" "+t.short)
	}
	return append(out, "b roll back", "p promote", "e why", "r receipt", "k kill a gateway", "q quit")
}

// drawReceipt draws what a person wants of the receipt; all of it is printed at
// the end.
func (s *scene) drawReceipt(p *page, room int) {
	r, first := s.receipt, len(p.lines)
	for i, l := range append([]string{string(r.ID)}, receiptLines(r)...) {
		label := "           "
		if i == 0 {
			label = "receipt    "
		}
		p.line(part{bold, label}, part{"", l})
	}
	p.line(part{cyan, "           $ mintmark receipt get " + string(r.ID) + " -o json | mintmark receipt verify -"})
	p.lines = p.lines[:min(len(p.lines), first+room)]
}

// page collects lines, each cut to its width.
type page struct {
	width int
	paint func(code, text string) string
	lines []string
}

// part is a piece of a line in one colour.
type part struct{ code, text string }

func (p *page) line(parts ...part) {
	var b strings.Builder
	left := p.width
	for _, x := range parts {
		runes := []rune(x.text)
		runes = runes[:min(len(runes), left)]
		left -= len(runes)
		if text := string(runes); x.code != "" && text != "" {
			b.WriteString(p.paint(x.code, text))
		} else {
			b.WriteString(text)
		}
	}
	p.lines = append(p.lines, b.String())
}

// bar draws a share in percent.
func bar(percent string, width int) string {
	var share float64
	_, _ = fmt.Sscanf(percent, "%g", &share) // "" is 0
	full := min(max(int(share*float64(width)/100+0.5), 0), width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// gauge is a counter's rate over the last while.
type gauge struct {
	count int64
	at    time.Time
	rates []float64 // oldest first
}

// gaugeLength is how many readings are drawn.
const gaugeLength = 40

func (g *gauge) read(count int64, now time.Time) {
	if !g.at.IsZero() && now.After(g.at) {
		g.rates = append(g.rates, float64(count-g.count)/now.Sub(g.at).Seconds())
		g.rates = g.rates[max(0, len(g.rates)-gaugeLength):]
	}
	g.count, g.at = count, now
}

// last is the mean of the last few readings.
func (g *gauge) last() float64 {
	few := g.rates[max(0, len(g.rates)-4):]
	if len(few) == 0 {
		return 0
	}
	sum := 0.0
	for _, r := range few {
		sum += r
	}
	return sum / float64(len(few))
}

func (g *gauge) picture() string {
	highest := 1.0
	for _, r := range g.rates {
		highest = max(highest, r)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", gaugeLength-len(g.rates)))
	for _, r := range g.rates {
		b.WriteRune([]rune(" ▁▂▃▄▅▆▇█")[int(r/highest*8)])
	}
	return fmt.Sprintf("%s %4.0f/s   %d served", b.String(), g.last(), g.count)
}
