package health

import "github.com/mintmark/mintmark"

// Outcome is what the evidence says of a candidate.
type Outcome string

// Outcomes.
const (
	// Wait: there is evidence of neither yet.
	Wait Outcome = "wait"
	// Pass: the candidate is certified not to be worse than the bound that was
	// asked for, and every metric that must take part did.
	Pass Outcome = "pass"
	// Fail: the candidate is worse, at the level that was asked for, or broke an
	// invariant. A verdict of fail stays, whatever comes after it.
	Fail Outcome = "fail"
	// Inconclusive: nothing can be said, for want of events, of a source, or of an
	// answer. It never means that the candidate is well.
	Inconclusive Outcome = "inconclusive"
)

// Report is the health of one rollout's candidate beside its stable release, at
// one moment. It is a value of its own: nothing changes it afterwards.
type Report struct {
	Rollout   mintmark.RolloutID `json:"rollout"`
	Service   string             `json:"service"`
	Stable    string             `json:"stable,omitempty"`
	Candidate string             `json:"candidate,omitempty"`
	Outcome   Outcome            `json:"outcome"`
	// Reasons say why, for people, the weightiest first; never empty.
	Reasons []string `json:"reasons"`
	// Tripped names the invariant or metric that made the outcome fail; empty when
	// it is another, or the metrics failed together only.
	Tripped Metric `json:"tripped,omitempty"`
	// Alpha is the probability of a false fail that was asked for, Beta that of a
	// false pass; the outcome is fail when LogE reaches ln 1/Alpha and may be pass
	// when LogSafe reaches ln 1/Beta.
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
	// LogE is the natural logarithm of the weighted mean of the metrics' evidence
	// that the candidate is worse; LogSafe that of the evidence that it is not worse
	// than the largest rate ratio allowed. LogE is 0 at the start. Neither is below
	// -1000, which stands for no evidence at all: no metric that could certify.
	LogE    float64 `json:"log_e"`
	LogSafe float64 `json:"log_safe"`
	// Weight is the candidate's share in basis points under which the newest
	// events were observed.
	Weight int `json:"weight"`
	// Exposed counts the subjects seen so far by the arm they are in at Weight.
	// Above the bound of exact counting it is an estimate: see Level.
	Exposed Arms `json:"exposed"`
	// Level is how many times subjects were halved to bound memory: of the exposed
	// subjects a share of 2^-Level is followed, alike in both arms. 0 is exact.
	Level uint8 `json:"level,omitempty"`
	// Metrics by name.
	Metrics []MetricReport `json:"metrics"`
	// Sources that have reported, by name.
	Sources []Source `json:"sources"`
	// History is LogE and LogSafe over time, oldest first, thinned out to a bound.
	History []Point `json:"history"`
	// AsOf is the time of the newest event taken into account, Unix milliseconds; 0
	// when there was none. Seq is its number on the ledger's stream of health.
	AsOf int64  `json:"as_of,omitempty"`
	Seq  uint64 `json:"seq"`
}

// Arms counts by arm.
type Arms struct {
	Stable    uint64 `json:"stable"`
	Candidate uint64 `json:"candidate"`
}

// MetricReport is one metric of a report.
type MetricReport struct {
	Name Metric `json:"name"`
	// About explains the metric in one line.
	About  string  `json:"about"`
	Weight float64 `json:"weight"` // in the mean; 0 takes no part
	// Idle says why the metric takes no part, if so: no baseline of latency yet, a
	// query that is not answered. Empty when it does.
	Idle string `json:"idle,omitempty"`
	// Events counts first bad events of subjects by the arm that the subject was in
	// at that moment (sampled like Exposed, not scaled up).
	Events Arms `json:"events"`
	// AtRisk counts followed subjects without a bad event, by arm at the report's
	// Weight: what the next event is weighed against.
	AtRisk Arms `json:"at_risk"`
	// LogE and LogSafe of this metric alone.
	LogE    float64 `json:"log_e"`
	LogSafe float64 `json:"log_safe"`
	// Ratio is the estimate of the candidate's rate over the stable's, with bounds
	// that hold at all times together; 0 and +Inf (written as absent) when unknown.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
}

// Source is one gateway, or the authority, that reports.
type Source struct {
	Name  string `json:"name"`            // gateway:ID, authority, prometheus:METRIC
	Heard int64  `json:"heard"`           // end of its newest report, Unix milliseconds
	Error string `json:"error,omitempty"` // why its newest report is missing
}

// Point is one moment of a report's history.
type Point struct {
	At        int64   `json:"at"` // Unix milliseconds
	LogE      float64 `json:"log_e"`
	LogSafe   float64 `json:"log_safe"`
	Weight    int     `json:"weight"`
	Candidate uint64  `json:"candidate"` // subjects exposed, sampled
	Stable    uint64  `json:"stable"`
}
