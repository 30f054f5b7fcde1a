package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// Metric names what is counted against a release: "refused_scope",
// "server_error", or "user.NAME" for one that the rollout's spec declares.
type Metric string

// Metrics that are watched by default. Their names are on disk and on the wire.
const (
	RefusedToken     Metric = "refused_token"    // its form, signature, key, issuer, time, binding
	RefusedPolicy    Metric = "refused_policy"   // scope, audience, policy, step-up
	RefusedState     Metric = "refused_state"    // revoked, suspended, of a release taken back
	UpstreamRefused  Metric = "upstream_refused" // 401 or 403 on a token that was admitted
	IssuanceFailed   Metric = "issuance_failed"  // the authority could not or would not mint
	RefreshFailed    Metric = "refresh_failed"   // a refresh token was not taken
	Reused           Metric = "reused"           // a superseded refresh token came again outside grace
	Stranded         Metric = "stranded"         // minted by the candidate, refused by the stable release: invariant
	CutOff           Metric = "cut_off"          // a stream or an answer ended abruptly
	ServerError      Metric = "server_error"     // 5xx, or no answer, of the release that served
	LatencyP50       Metric = "latency_p50"      // beyond the stable release's median before the rollout
	LatencyP90       Metric = "latency_p90"      // beyond its 90th percentile
	LatencyP99       Metric = "latency_p99"      // beyond its 99th percentile
	userPrefix              = "user."            // declared by the rollout's spec
	prometheusPrefix        = "prometheus."      // likewise, asked for at Prometheus
)

// Kind says how a metric's events become evidence.
type Kind string

// Kinds of metric.
const (
	// Proportion: first bad event per subject, weighed against the subjects at risk.
	Proportion Kind = "proportion"
	// Invariant: one event of the candidate is enough.
	Invariant Kind = "invariant"
	// Queried: totals that somebody else counts per arm, bad of all.
	Queried Kind = "queried"
)

// Place is where a metric stands in the bit sets of subjects: a number that is on
// disk and on the wire, never given to another metric.
type Place uint8

// Places. User-defined metrics follow from PlaceUser on in the order of the spec.
const (
	PlaceRefusedToken Place = iota
	PlaceRefusedPolicy
	PlaceRefusedState
	PlaceUpstreamRefused
	PlaceIssuanceFailed
	PlaceRefreshFailed
	PlaceReused
	PlaceStranded
	PlaceCutOff
	PlaceServerError
	PlaceLatencyP50
	PlaceLatencyP90
	PlaceLatencyP99

	PlaceUser Place = 24
	// Places is how many there are; MaxUser how many a spec may declare.
	Places  = 32
	MaxUser = Places - int(PlaceUser)
)

// Entry describes a metric.
type Entry struct {
	Name  Metric
	Place Place
	Kind  Kind
	// Weight is the metric's default share in the weighted mean of the evidence; the
	// weights of those that take part are scaled to sum to 1.
	Weight float64
	// Needed: a pass waits until this metric excludes Spec.Acceptable. Events that
	// are rare while all is well can't be: a rollout would never see enough of them.
	Needed bool
	About  string
}

// Catalogue lists the metrics watched by default, by place. The caller may change
// what it gets.
func Catalogue() []Entry {
	return []Entry{
		{RefusedToken, PlaceRefusedToken, Proportion, 1, false, "tokens refused for what they are: expired, malformed, bound to another key"},
		{RefusedPolicy, PlaceRefusedPolicy, Proportion, 1, false, "tokens refused by policy: scope, audience, kind, step-up"},
		{RefusedState, PlaceRefusedState, Proportion, 0.5, false, "tokens refused because they or their release were taken back"},
		{UpstreamRefused, PlaceUpstreamRefused, Proportion, 3, false, "the service answered 401 or 403 to a token that the gateway had admitted"},
		{IssuanceFailed, PlaceIssuanceFailed, Proportion, 1, false, "the authority did not issue a token that was asked for"},
		{RefreshFailed, PlaceRefreshFailed, Proportion, 1, false, "a refresh token was not taken"},
		{Reused, PlaceReused, Proportion, 0.5, false, "a superseded refresh token was used again outside its grace"},
		{Stranded, PlaceStranded, Invariant, 0, false, "the candidate minted a token that the stable release would refuse"},
		{CutOff, PlaceCutOff, Proportion, 1, false, "an answer or a stream ended abruptly"},
		{ServerError, PlaceServerError, Proportion, 4, false, "the service answered 5xx or not at all"},
		{LatencyP50, PlaceLatencyP50, Proportion, 0.5, true, "answers slower than the stable release's median before the rollout"},
		{LatencyP90, PlaceLatencyP90, Proportion, 0.5, true, "answers slower than its 90th percentile"},
		{LatencyP99, PlaceLatencyP99, Proportion, 0.5, true, "answers slower than its 99th percentile"},
	}
}

// ClassOf returns the metric that a refusal counts towards; false for those that
// say nothing about a release: a request without a token, one that no route
// takes, one too many, or a gateway that does not know the state.
func ClassOf(code mintmark.Code) (Place, bool) {
	switch code {
	case mintmark.CodeMalformed, mintmark.CodeExpired, mintmark.CodeNotYetValid, mintmark.CodeSignature,
		mintmark.CodeKeyUnknown, mintmark.CodeIssuerUnknown, mintmark.CodeBinding:
		return PlaceRefusedToken, true
	case mintmark.CodeAudience, mintmark.CodeScope, mintmark.CodeAuthentication, mintmark.CodePolicyRefused:
		return PlaceRefusedPolicy, true
	case mintmark.CodeRevoked, mintmark.CodeSuspended, mintmark.CodeSuperseded, mintmark.CodeReleaseRetired:
		return PlaceRefusedState, true
	case mintmark.CodeUpstream:
		return PlaceServerError, true
	}
	return 0, false
}

// names lists the known names, for an error that helps.
func names(entries []Entry) string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = string(e.Name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// find returns the entry of a name in the catalogue.
func find(entries []Entry, name Metric) (*Entry, error) {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i], nil
		}
	}
	return nil, fmt.Errorf("%.80q is no metric: want one of %s", name, names(entries))
}
