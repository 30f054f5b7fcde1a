package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestShift(t *testing.T) {
	x, y := make([]float64, 20), make([]float64, 20)
	for i := range x {
		x[i], y[i] = float64(i)+5, float64(i)
	}
	estimate, lower := shift(x, y)
	if estimate != 5 || lower >= 5 || lower < -1 {
		t.Errorf("estimate %v, lower limit %v: want 5, and somewhat below", estimate, lower)
	}
	// By the tables: 20 and 20 values at 0.98 two-sided cut off 114 pairs.
	pairs, rank := 400.0, 0.0
	rank = math.Floor(pairs/2 - mannWhitneyZ*math.Sqrt(pairs*41/12))
	if math.Abs(rank-114) > 1 {
		t.Errorf("rank %v: want 114, or one beside", rank)
	}
}

func TestFailuresAreBinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, p, runs = 50, 0.03, 20000
	sum, squares := 0.0, 0.0
	for range runs {
		x := float64(failures(rng, n, p))
		sum, squares = sum+x, squares+x*x
	}
	mean := sum / runs
	variance := squares/runs - mean*mean
	if math.Abs(mean-n*p) > 0.04 || math.Abs(variance-n*p*(1-p)) > 0.06 {
		t.Errorf("mean %v, variance %v: want %v, %v", mean, variance, n*p, n*p*(1-p))
	}
}

// TestJudges: what the table is there to show, on a smaller scale.
func TestJudges(t *testing.T) {
	s := setting{runs: 40, seed: 1, rate: 500, canary: 0.1, base: 0.001, seconds: 1800}
	by := make(map[string]contestant)
	for _, j := range contestants() {
		by[j.name] = j
	}
	e, naive := by["e-process, every second"], by["over 2x baseline in one minute"]
	peek, once := by["Mann-Whitney on minutes, every minute from 10"], by["Mann-Whitney on minutes, once after 30"]
	if alarms := len(play(s, 1, e)); alarms > 2 {
		t.Errorf("e-process: %d false alarms of %d", alarms, s.runs)
	}
	if alarms := len(play(s, 1, naive)); alarms < s.runs/2 {
		t.Errorf("a limit of twice the baseline: only %d false alarms of %d", alarms, s.runs)
	}
	if p, o := len(play(s, 1, peek)), len(play(s, 1, once)); p <= o {
		t.Errorf("Mann-Whitney looked at every minute: %d false alarms, once: %d", p, o)
	}
	delays := play(s, 10, e)
	if len(delays) != s.runs || cell(delays, s.runs) > "60" && delays[s.runs/2] > 60 {
		t.Errorf("10x: e-process took %s", cell(delays, s.runs))
	}
}

// TestRetries: storms don't reach the judge that counts subjects, and mislead the others.
func TestRetries(t *testing.T) {
	s := setting{runs: 40, seed: 2, rate: 500, canary: 0.1, base: 0.001, seconds: 900, retries: 20}
	by := make(map[string]contestant)
	for _, j := range contestants() {
		by[j.name] = j
	}
	if alarms := len(play(s, 1, by["e-process, every second"])); alarms > 2 {
		t.Errorf("e-process: %d false alarms of %d", alarms, s.runs)
	}
	if alarms := len(play(s, 1, by["over 1 % in one minute"])); alarms < s.runs/2 {
		t.Errorf("a limit of 1 %%: only %d false alarms of %d", alarms, s.runs)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	compare(&out, setting{runs: 2, seed: 1, rate: 200, canary: 0.2, base: 0.01, seconds: 120}, contestants()[:1])
	if got := out.String(); !strings.Contains(got, "e-process") || !strings.Contains(got, "| 100x") {
		t.Errorf("table:\n%s", got)
	}
}

func TestSettingRefused(t *testing.T) {
	good := setting{runs: 1, rate: 1, canary: 0.5, base: 0.5}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*setting){
		func(s *setting) { s.runs = 0 },
		func(s *setting) { s.rate = math.NaN() },
		func(s *setting) { s.canary = 1 },
		func(s *setting) { s.base = 0 },
	} {
		s := good
		change(&s)
		if s.validate() == nil {
			t.Errorf("accepted %+v", s)
		}
	}
}
