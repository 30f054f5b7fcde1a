package demo

import (
	"fmt"
	"strings"
	"time"
)

// fault is a way in which the candidate misbehaves: the word of --fault.
type fault string

// Faults of the candidate.
const (
	healthy       fault = "none"
	overScoped    fault = "over-scoped"
	wrongAudience fault = "wrong-audience"
	stranded      fault = "stranded"
	serverErrors  fault = "5xx"
	slow          fault = "slow"
	upstream401   fault = "upstream-401"
)

// slowness is how much longer the slow candidate takes to answer.
const slowness = 400 * time.Millisecond

// trouble says what a fault is and by what it has to be noticed.
type trouble struct {
	fault fault
	key   byte   // in the interactive view
	short string // on the key
	// policy says that the candidate's policy is at fault, so that tokens are harmful;
	// otherwise its servers are.
	policy bool
	what   string // happens, for people
	// metrics are those that may notice it; one that ends in _ stands for all that
	// begin so.
	metrics []string
}

// troubles lists all faults, in the order in which they are shown.
func troubles() []trouble {
	return []trouble{
		{overScoped, 's', "over-scoped tokens", true, "orders/v2 hands out " + harmScope + " to everybody: a bug in its policy", []string{"stranded"}},
		{wrongAudience, 'a', "wrong audience", true, "orders/v2 mints tokens that are also good at " + harmAudience + ": a bug in its policy", []string{"stranded"}},
		{stranded, 't', "tokens that v1 can't take", true, "orders/v2 mints for " + newAudience + " alone: v1 could never take such tokens over", []string{"stranded"}},
		{serverErrors, '5', "errors", false, "the servers of orders/v2 answer 500 from now on", []string{"server_error"}},
		{slow, 'l', "slowness", false, "the servers of orders/v2 take " + slowness.String() + " longer from now on", []string{"latency_"}},
		{upstream401, 'u', "401 to good tokens", false, "the servers of orders/v2 answer 401 to tokens that the gateway has admitted", []string{"upstream_refused"}},
	}
}

// troubleOf finds a fault; nil for none.
func troubleOf(f fault) *trouble {
	for _, t := range troubles() {
		if t.fault == f {
			return &t
		}
	}
	return nil
}

// noticedBy reports whether a metric is one that has to notice the fault.
func (t *trouble) noticedBy(metric string) bool {
	for _, m := range t.metrics {
		if metric == m || strings.HasSuffix(m, "_") && strings.HasPrefix(metric, m) {
			return true
		}
	}
	return false
}

// Faults are the words that --fault takes.
func Faults() []string {
	var out []string
	for _, t := range troubles() {
		out = append(out, string(t.fault))
	}
	return append(out, string(healthy))
}

// checkFault refuses what is not a fault.
func checkFault(word string) error {
	for _, f := range Faults() {
		if f == word {
			return nil
		}
	}
	return fmt.Errorf("--fault %q: want %s", word, strings.Join(Faults(), ", "))
}
