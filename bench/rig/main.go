// Command rig answers: what does the gateway cost next to its peers, in one run?
//
// The proxy under test has one core to itself (GOMAXPROCS=1, one worker); the load
// generator, the nginx that answers behind it, and control share the other. Rounds
// alternate among the peers, so that a disturbance of the machine meets all of
// them, and medians are printed. Ratios count, absolute figures are the machine's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/mintmark", "the product")
	flag.StringVar(&o.uncounted, "uncounted", "", "the product built with the tag uncounted, to tell what accounting costs; left out when empty")
	flag.StringVar(&o.dir, "dir", "", "private directory for everything; a temporary one when empty")
	flag.IntVar(&o.tokens, "tokens", 10_000, "distinct tokens")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, of which the median is taken")
	flag.DurationVar(&o.length, "length", 6*time.Second, "length of one peer's turn")
	flag.IntVar(&o.conns, "connections", 64, "kept connections")
	flag.IntVar(&o.rate, "rate", 500, "requests per second at which latency is measured")
	flag.StringVar(&o.core, "core", "0", "core of the proxy under test")
	flag.StringVar(&o.others, "others", "1", "cores of everything else")
	flag.StringVar(&o.only, "only", "", "names of peers, separated by commas; all when empty")
	flag.StringVar(&o.perf, "perf", "", "directory for a profile of each turn by perf record (perf(1)); give -binary one that was not stripped")
	serve := flag.String("serve", "", "internal: be a proxy (bare or reverseproxy) from -listen to -upstream")
	listen := flag.String("listen", "", "internal")
	upstream := flag.String("upstream", "", "internal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *serve != "" {
		err = proxy(ctx, *serve, *listen, *upstream)
	} else {
		err = run(ctx, o)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, uncounted    string
	dir                  string
	tokens, rounds, rate int
	conns                int
	length               time.Duration
	core, others, only   string
	perf                 string
}

// peer is one proxy under test.
type peer struct {
	name string
	// what of the tokens it verifies.
	checks string
	url    string
	procs  []*process
	turns  []turn
	warm   bool // has met every token
}

// turn is one measurement of one peer.
type turn struct {
	rate     float64 // requests per second
	cpu      float64 // seconds of CPU for a million requests
	rss      float64 // MiB, after the load
	p50, p99 float64 // µs at the fixed rate
}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "mintmark-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	for round := range o.rounds {
		for _, p := range w.peers {
			t, err := w.turn(ctx, p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			p.turns = append(p.turns, t)
			fmt.Fprintf(os.Stderr, "round %d  %-36s %8.0f req/s %7.0f CPU s per 1M  p99 %6.0f µs\n", round+1, p.name, t.rate, t.cpu, t.p99)
		}
	}
	report(w.peers, o)
	return nil
}

// report prints the table of medians.
func report(peers []*peer, o options) {
	of := func(p *peer, f func(turn) float64) float64 {
		if p == nil || len(p.turns) == 0 {
			return 0
		}
		var v []float64
		for _, t := range p.turns {
			v = append(v, f(t))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	// Ratios are taken within a round, then the median of them: what disturbs the
	// machine for minutes then cancels out.
	ratio := func(p, base *peer, f func(turn) float64) string {
		if base == nil || len(base.turns) == 0 {
			return "–"
		}
		var v []float64
		for i := range p.turns {
			v = append(v, f(p.turns[i])/f(base.turns[i]))
		}
		slices.Sort(v)
		return fmt.Sprintf("%.2f", v[len(v)/2])
	}
	rate := func(t turn) float64 { return t.rate }
	cpu := func(t turn) float64 { return t.cpu }
	nginx, bare := named(peers, "nginx"), named(peers, "our bare proxy")
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "gateway\ttokens\treq/s\tvs nginx\tvs our bare\tCPU s per 1M\tCPU vs bare\tRSS MiB\tp50 µs\tp99 µs")
	for _, p := range peers {
		fmt.Fprintf(out, "%s\t%s\t%.0f\t%s\t%s\t%.0f\t%s\t%.0f\t%.0f\t%.0f\n", p.name, p.checks, of(p, rate), ratio(p, nginx, rate), ratio(p, bare, rate),
			of(p, cpu), ratio(p, bare, cpu), of(p, func(t turn) float64 { return t.rss }),
			of(p, func(t turn) float64 { return t.p50 }), of(p, func(t turn) float64 { return t.p99 }))
	}
	out.Flush()
	compare(peers, ratio)
	fmt.Printf("%d tokens, %d connections, %d rounds of %s, medians; latency at %d req/s\n", o.tokens, o.conns, o.rounds, o.length, o.rate)
}

// compare prints the ratios that have a budget and are not in the table.
func compare(peers []*peer, ratio func(p, base *peer, f func(turn) float64) string) {
	rate := func(t turn) float64 { return t.rate }
	for _, c := range []struct{ what, of, to string }{
		{"req/s, every token new, vs HAProxy jwt_verify", uncached, "HAProxy jwt_verify"},
		{"req/s, accounting on vs off", whole, uncounted},
	} {
		if p, base := named(peers, c.of), named(peers, c.to); p != nil && base != nil {
			fmt.Printf("%s: %s\n", c.what, ratio(p, base, rate))
		}
	}
	// Added is what a proxy adds to the time that the service takes without one.
	us, nginx, direct := named(peers, whole), named(peers, "nginx"), named(peers, straight)
	if us == nil || nginx == nil || direct == nil {
		return
	}
	for name, f := range map[string]func(turn) float64{"p50": func(t turn) float64 { return t.p50 }, "p99": func(t turn) float64 { return t.p99 }} {
		var mine, theirs []float64
		for i := range direct.turns {
			mine = append(mine, f(us.turns[i])-f(direct.turns[i]))
			theirs = append(theirs, f(nginx.turns[i])-f(direct.turns[i]))
		}
		slices.Sort(mine)
		slices.Sort(theirs)
		m, n := mine[len(mine)/2], theirs[len(theirs)/2]
		fmt.Printf("added %s: %.0f µs, nginx %.0f µs: %.2f\n", name, m, n, m/n)
	}
}

func named(peers []*peer, name string) *peer {
	if i := slices.IndexFunc(peers, func(p *peer) bool { return p.name == name }); i >= 0 {
		return peers[i]
	}
	return nil
}

func (o options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), name)
}
