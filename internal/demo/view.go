package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/mintmark/mintmark"
)

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
	say.hush(true)
	fmt.Fprint(o.Out, "\x1b[?1049h\x1b[?25l")
	p := &player{story: s, say: say, fd: fd, out: o}
	defer func() {
		p.acts.Wait()
		fmt.Fprint(o.Out, "\x1b[?25h\x1b[?1049l")
		_ = term.Restore(fd, old)
		say.hush(false)
		say.report(s, s.World.Crowd.Score.Held())
	}()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // before waiting for what a key began
	keys := make(chan byte)
	go readKeys(ctx, o.In, keys) // ends at the next key after ctx, or with the process
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		p.draw(ctx)
		select {
		case <-ctx.Done():
			return s.World.Crowd.Score.Held()
		case <-tick.C:
			p.sample()
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

// player acts on keys and gathers what is drawn. Its loop owns it, but for what
// says otherwise.
type player struct {
	story   *Story
	say     *narrator
	fd      int
	out     Options
	acts    sync.WaitGroup
	receipt bool
	why     bool
	stable  gauge
	canary  gauge
	of      mintmark.RolloutID
	trail   []float64 // log10 E of the rollout of

	mu   sync.Mutex
	busy string // guarded by mu; what a key began
	down bool   // guarded by mu; the last gateway was killed
}

// press begins what a key stands for. One thing at a time: the next waits for the
// one before.
func (p *player) press(ctx context.Context, k byte) {
	switch k {
	case 'r':
		p.receipt, p.why = !p.receipt, false
		return
	case 'e':
		p.why, p.receipt = !p.why, false
		return
	}
	act, ok := p.act(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok || p.busy != "" {
		return
	}
	p.busy = act.what
	p.acts.Go(func() {
		if err := act.do(ctx); err != nil && ctx.Err() == nil {
			p.say.step("✖ "+err.Error(), "")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy = ""
	})
}

// act is what a key begins.
type act struct {
	what string
	do   func(context.Context) error
}

func (p *player) act(k byte) (act, bool) {
	for _, t := range troubles() {
		if t.key == k {
			return act{"letting v2 misbehave: " + string(t.fault), func(ctx context.Context) error { return p.story.Misbehave(ctx, t.fault) }}, true
		}
	}
	switch k {
	case 'c':
		return act{"starting the canary", p.canaryAct}, true
	case 'b':
		return act{"rolling back", func(ctx context.Context) error { return p.story.Rollback(ctx, "an operator pressed b") }}, true
	case 'p':
		return act{"promoting", p.story.Promote}, true
	case 'k':
		return act{"killing a gateway, or starting it again", p.kill}, true
	}
	return act{}, false
}

// canaryAct starts a canary, and beside it somebody who waits for its end.
func (p *player) canaryAct(ctx context.Context) error {
	if err := p.story.StartCanary(ctx, p.out.Percent); err != nil {
		return err
	}
	if p.story.ByHand {
		return nil
	}
	id := p.story.Told().Rollout
	p.acts.Go(func() {
		if err := p.story.await(ctx, 24*time.Hour, func() bool { t := p.story.Told(); return t.Rollout != id || t.over() }); err != nil && ctx.Err() == nil {
			p.say.step("✖ "+err.Error(), "")
		}
	})
	return nil
}

// kill kills the last gateway outright, or starts it again.
func (p *player) kill(ctx context.Context) error {
	g := p.story.World.Gateways[len(p.story.World.Gateways)-1]
	p.mu.Lock()
	down := p.down
	p.down = !down
	p.mu.Unlock()
	if !down {
		g.Kill()
		p.say.step(g.Name+" was killed: clients that choose it find nobody, revocations wait for its lease", "kill -9 "+g.Name)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := g.Start(ctx); err != nil {
		return err
	}
	p.say.step(g.Name+" is back: it caught up before it answered", "mintmark gateway --config "+g.Name+".yaml")
	return nil
}

// sample reads the rates of both releases.
func (p *player) sample() {
	now := time.Now()
	p.stable.read(p.story.World.Stable.Served.Load(), now)
	p.canary.read(p.story.World.Candidate.Served.Load(), now)
}

func (p *player) draw(ctx context.Context) {
	width, height, err := term.GetSize(p.fd)
	if err != nil {
		width, height = 80, 24
	}
	s := p.scene(ctx)
	paint := p.say.paint
	fmt.Fprint(p.out.Out, "\x1b[H"+strings.Join(s.render(width, height, paint), "\x1b[K\r\n")+"\x1b[K\x1b[J")
}

// scene gathers what is to be drawn now.
func (p *player) scene(ctx context.Context) *scene {
	w, score := p.story.World, p.story.World.Crowd.Score
	s := &scene{
		clients: w.Crowd.Ready(), streams: w.Crowd.Streams(), stable: &p.stable, canary: &p.canary,
		answered: score.OK.Load(), unknown: score.Unknown.Load(), failed: score.Upstream.Load(), unreachable: score.Unreachable.Load(),
		harmful: score.Harmful.Load(), refused: score.HarmfulRefused.Load(), accepted: score.HarmfulAccepted.Load(), harmless: score.Harmless401.Load(),
		byHand: p.story.ByHand, lines: p.say.last(200),
	}
	p.mu.Lock()
	s.busy = p.busy
	idle := s.busy == ""
	p.mu.Unlock()
	told := p.story.Told()
	s.fault, s.receipt, s.explanation = told.Fault, told.Receipt, told.Explanation
	s.showReceipt, s.showWhy = p.receipt && s.receipt != nil, p.why && len(s.explanation) > 0
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	admin, err := w.Admin(ctx)
	if err == nil {
		s.fleet, err = admin.Gateways(ctx)
	}
	if err == nil && idle && told.Rollout != "" {
		s.rollout, err = admin.Rollout(ctx, told.Rollout)
		if err == nil {
			s.gate, err = admin.RolloutGate(ctx, told.Rollout, 0)
		}
	}
	p.look(told.Rollout, s)
	if err != nil {
		s.trouble = err.Error()
	}
	return s
}

// look keeps the trail of the evidence.
func (p *player) look(id mintmark.RolloutID, s *scene) {
	if id != p.of {
		p.of, p.trail = id, nil
	}
	if s.gate != nil {
		p.trail = append(p.trail, math.Log10(max(s.gate.EFail, 1e-9)))
		p.trail = p.trail[max(0, len(p.trail)-trailLength):]
	}
	s.trail = p.trail
}
