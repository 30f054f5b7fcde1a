package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/mintmark/mintmark/api"
)

// keys of the interactive view, in the order they are shown.
var viewKeys = []struct {
	key  byte
	what string
}{
	{'c', "start canary at 25 %"},
	{'s', "candidate over-scopes its tokens"},
	{'a', "candidate mints a wrong audience"},
	{'5', "candidate answers 500"},
	{'b', "roll back"},
	{'r', "show receipt"},
	{'q', "quit"},
}

// view draws what happens twice a second and acts on keys, until q or ctx.
func view(ctx context.Context, s *Story, say *narrator, o Options) error {
	fd := int(o.In.Fd())
	if !term.IsTerminal(fd) {
		return errors.New("the interactive demo needs a terminal; `mintmark demo --script` plays by itself")
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	say.mu.Lock()
	say.quiet = true
	say.mu.Unlock()
	fmt.Fprint(o.Out, "\x1b[?1049h\x1b[?25l")
	defer func() {
		fmt.Fprint(o.Out, "\x1b[?25h\x1b[?1049l")
		_ = term.Restore(fd, old)
		say.mu.Lock()
		say.quiet = false
		say.mu.Unlock()
		say.report(s, s.World.Crowd.Score.Held())
	}()
	keys := make(chan byte)
	go readKeys(ctx, o.In, keys) // ends at the next key after ctx, or with the process
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	p := &picture{story: s, say: say, out: o}
	for {
		p.draw(ctx)
		select {
		case <-ctx.Done():
			return s.World.Crowd.Score.Held()
		case <-tick.C:
		case k := <-keys:
			if k == 'q' || k == 3 {
				return s.World.Crowd.Score.Held()
			}
			p.press(ctx, k)
		}
	}
}

func readKeys(ctx context.Context, in *os.File, keys chan<- byte) {
	b := make([]byte, 1)
	for {
		if n, err := in.Read(b); err != nil || n == 0 {
			return
		}
		select {
		case keys <- b[0]:
		case <-ctx.Done():
			return
		}
	}
}

// picture is what is drawn.
type picture struct {
	story    *Story
	say      *narrator
	out      Options
	receipt  bool
	requests int64
	at       time.Time
}

func (p *picture) press(ctx context.Context, k byte) {
	var err error
	switch k {
	case 'c':
		err = p.story.StartCanary(ctx, "25")
	case 's':
		err = p.story.Misbehave(ctx, overScoped)
	case 'a':
		err = p.story.Misbehave(ctx, wrongAudience)
	case '5':
		err = p.story.Misbehave(ctx, failing)
	case 'b':
		err = p.story.Rollback(ctx, "an operator pressed b")
	case 'r':
		p.receipt = !p.receipt
	}
	if err != nil {
		p.say.step("✖ "+err.Error(), "")
	}
}

func (p *picture) draw(ctx context.Context) {
	width, height, err := term.GetSize(int(p.out.In.Fd()))
	if err != nil {
		width, height = 100, 40
	}
	var b strings.Builder
	line := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if r := []rune(text); len(r) > width {
			text = string(r[:width])
		}
		b.WriteString(text + "\x1b[K\r\n")
	}
	score, now := p.story.World.Crowd.Score, time.Now()
	rate := 0.0
	if n := score.Requests.Load(); !p.at.IsZero() {
		rate = float64(n-p.requests) / now.Sub(p.at).Seconds()
	}
	p.requests, p.at = score.Requests.Load(), now

	line("Mintmark demo   %d clients, %.0f requests/s, %d event streams", p.story.World.Crowd.Ready(), rate, p.story.World.Crowd.Streams())
	line("")
	p.drawControl(ctx, line)
	line("")
	line("clients say     answered %d   503 %d   5xx %d   unreachable %d", score.OK.Load(), score.Unknown.Load(), score.Upstream.Load(), score.Unreachable.Load())
	line("                harmful tokens: %d handed out, %d refused, %d ACCEPTED after rollback", score.Harmful.Load(), score.HarmfulRefused.Load(), score.HarmfulAccepted.Load())
	line("                harmless tokens refused: %d", score.Harmless401.Load())
	line("")
	if p.receipt && p.story.Receipt != nil {
		for l := range strings.SplitSeq(p.story.ReceiptJSON(), "\n") {
			line("%s", l)
		}
	} else {
		for _, l := range p.say.last(max(4, height-20)) {
			line("%s", l)
		}
	}
	line("")
	for _, k := range viewKeys {
		fmt.Fprintf(&b, "[%c] %s   ", k.key, k.what)
	}
	fmt.Fprint(p.out.Out, "\x1b[H"+b.String()+"\x1b[J")
}

// drawControl draws what control says of gateways and the rollout.
func (p *picture) drawControl(ctx context.Context, line func(string, ...any)) {
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	admin, err := p.story.World.Admin(ctx)
	var gateways *api.Gateways
	if err == nil {
		gateways, err = admin.Gateways(ctx)
	}
	if err != nil {
		line("control         ✖ %v", err)
		return
	}
	line("control         epoch %d, state log at %d", gateways.Epoch, gateways.Head)
	for _, g := range gateways.Gateways {
		icon := "✔"
		if g.State != "live" {
			icon = "⚠"
		}
		line("  %s %-12s %-7s epoch %d, applied %d, lease %d ms", icon, g.ID, g.State, g.Epoch, g.Seq, g.LeaseMS)
	}
	line("releases        v1 served %d    v2 served %d", p.story.World.Stable.Served.Load(), p.story.World.Candidate.Served.Load())
	if p.story.rollout == "" {
		line("rollout         none")
		return
	}
	if ro, err := admin.Rollout(ctx, p.story.rollout); err == nil {
		line("rollout         %s → %s  %s  %s %%", ro.Stable, ro.Candidate, ro.State, ro.Percent)
	}
}
