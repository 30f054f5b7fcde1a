// Command judges compares ways to decide that a canary is bad, on the same simulated
// traffic: how often each takes a good candidate for a bad one, and how long each takes to see
// a bad one. It prints a table in Markdown.
//
//	go run ./bench/judges
//	go run ./bench/judges -runs 1000 -canary 0.1 -base 0.0005
//
//	go run ./bench/judges -retries 20
//
// Traffic is steady, and each request is a new subject's, except for retries: with
// -retries a subject that failed tries again at once, in vain, that often on average. Package sequential
// counts a subject's first failure only; the others count requests. A run is an hour.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"text/tabwriter"
)

// setting is the traffic of a comparison.
type setting struct {
	runs    int
	seed    uint64
	rate    float64 // requests a second
	canary  float64 // the canary's share of them
	base    float64 // the baseline's failure rate
	retries float64 // a failed subject's mean number of failing retries
	seconds int
}

// contestant is a judge by name.
type contestant struct {
	name string
	make func() judge
}

func contestants() []contestant {
	return []contestant{
		{"e-process, every second", newEProcess},
		{"Mann-Whitney on minutes, once after 30", newMannWhitney(func(m int) bool { return m == 30 })},
		{"Mann-Whitney on minutes, every minute from 10", newMannWhitney(func(m int) bool { return m >= 10 })},
		{"over 1 % in one minute", absolute(0.01, 1)},
		{"over 1 % in 5 minutes in a row", absolute(0.01, 5)},
		{"over 2x baseline in one minute", relative(2, 1)},
		{"over 2x baseline in 5 minutes in a row", relative(2, 5)},
	}
}

func main() {
	s := setting{seconds: 3600}
	flag.IntVar(&s.runs, "runs", 200, "simulated rollouts per cell")
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the simulation")
	flag.Float64Var(&s.rate, "rate", 1000, "requests a second")
	flag.Float64Var(&s.canary, "canary", 0.05, "the canary's share of requests")
	flag.Float64Var(&s.base, "base", 0.001, "the baseline's failure rate")
	flag.Float64Var(&s.retries, "retries", 0, "mean number of a failed subject's failing retries")
	flag.Parse()
	if err := s.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(2)
	}
	compare(os.Stdout, s, contestants())
}

func (s setting) validate() error {
	switch {
	case s.runs < 1:
		return fmt.Errorf("-runs is %d: want 1 or more", s.runs)
	case !(s.rate > 0 && s.rate <= 1e6):
		return fmt.Errorf("-rate is %v: want above 0, up to 1000000", s.rate)
	case !(s.canary > 0 && s.canary < 1):
		return fmt.Errorf("-canary is %v: want between 0 and 1", s.canary)
	case !(s.base > 0 && s.base < 1):
		return fmt.Errorf("-base is %v: want between 0 and 1", s.base)
	case !(s.retries >= 0 && s.retries <= 1e6):
		return fmt.Errorf("-retries is %v: want 0 to 1000000", s.retries)
	}
	return nil
}

// compare prints the table.
func compare(w io.Writer, s setting, judges []contestant) {
	ratios := []float64{1, 2, 5, 10, 1 / s.base}
	fmt.Fprintf(w, "%d runs of an hour, %v requests/s, canary %v, base rate %v, %v retries, seed %d.\n", s.runs, s.rate, s.canary, s.base, s.retries, s.seed)
	fmt.Fprint(w, "Delay: median seconds to the alarm; in brackets the share of runs without one.\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprint(t, "| judge\t false alarms")
	for _, r := range ratios[1:] {
		fmt.Fprintf(t, "\t %vx", r)
	}
	fmt.Fprint(t, "\t\n| ---\t ---\t ---\t ---\t ---\t ---\t\n")
	for _, j := range judges {
		fmt.Fprintf(t, "| %s", j.name)
		for i, r := range ratios {
			delays := play(s, r, j)
			if i == 0 {
				fmt.Fprintf(t, "\t %.3f", float64(len(delays))/float64(s.runs))
				continue
			}
			fmt.Fprintf(t, "\t %s", cell(delays, s.runs))
		}
		fmt.Fprint(t, "\t\n")
	}
	t.Flush()
}

// cell is the median over all runs, where a run without alarm counts as longer than any.
func cell(delays []int, runs int) string {
	missed := float64(runs-len(delays)) / float64(runs)
	sort.Ints(delays)
	text := "none"
	if len(delays) > runs/2 {
		text = fmt.Sprint(delays[runs/2], " s")
	}
	if missed > 0 {
		text += fmt.Sprintf(" (%.2f)", missed)
	}
	return text
}

// play is the seconds to the alarm of each run that had one. The same run has the
// same traffic for every judge.
func play(s setting, ratio float64, j contestant) (delays []int) {
	for run := range s.runs {
		rng := rand.New(rand.NewPCG(s.seed, uint64(run)))
		judge := j.make()
		for i := 1; i <= s.seconds; i++ {
			if judge.look(s.next(rng, ratio)) {
				delays = append(delays, i)
				break
			}
		}
	}
	return delays
}

// next is one second's traffic.
func (s setting) next(rng *rand.Rand, ratio float64) second {
	out := second{
		canary:   int64(math.Round(s.rate * s.canary)),
		baseline: int64(math.Round(s.rate * (1 - s.canary))),
	}
	out.canaryFailed = failures(rng, out.canary, min(s.base*ratio, 1))
	out.baselineFailed = failures(rng, out.baseline, s.base)
	if s.retries > 0 {
		out.canaryRetries = s.storm(rng, out.canaryFailed)
		out.baselineRetries = s.storm(rng, out.baselineFailed)
	}
	return out
}

// storm is the retries of so many subjects; some give up at once, some go on for long.
func (s setting) storm(rng *rand.Rand, failed int64) (sum int64) {
	for range failed {
		sum += int64(rng.ExpFloat64() * s.retries)
	}
	return sum
}

// failures is how many of n requests fail: binomial, by the waiting times between
// failures.
func failures(rng *rand.Rand, n int64, p float64) (count int64) {
	if p >= 1 {
		return n
	}
	for at := int64(0); ; count++ {
		at += 1 + int64(math.Min(math.Log1p(-rng.Float64())/math.Log1p(-p), 1e15))
		if at > n {
			return count
		}
	}
}
