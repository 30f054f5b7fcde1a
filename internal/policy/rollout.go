package policy

import (
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
)

// Strategies of a rollout.
const (
	strategyBlueGreen = "blue-green"
	strategyCanary    = "canary"
	strategyShadow    = "shadow"
)

// Rollout says how a service moves to a candidate release. It is started, not
// applied: mintmark rollout start -f FILE.
type Rollout struct {
	Header
	Description   string                          `json:"description,omitempty" doc:"For people."`
	Service       string                          `json:"service" check:"required,name" doc:"Name of the service."`
	Candidate     string                          `json:"candidate" check:"required,name" doc:"Name of the release that it moves to."`
	Strategy      string                          `json:"strategy" check:"required,enum=blue-green|canary|shadow" doc:"blue-green gives the candidate nothing, then everything; canary a share that grows; shadow copies of requests, then everything."`
	Steps         []RolloutStep                   `json:"steps,omitempty" doc:"What it goes through by itself, in this order; without steps people move it."`
	Promote       string                          `json:"promote,omitempty" check:"enum=automatic|manual" doc:"What comes after the last step: automatic gives everything to the candidate once the analysis says pass, manual waits for people. automatic when a step is a gate, else manual."`
	FinaliseAfter Duration                        `json:"finalise_after,omitempty" doc:"How long after its promotion the candidate becomes the stable release; by hand when left out."`
	Rollback      string                          `json:"rollback,omitempty" check:"enum=automatic|manual" doc:"What a failing analysis leads to: automatic takes the candidate back at once, manual pauses; automatic when left out."`
	Inconclusive  string                          `json:"on_inconclusive,omitempty" check:"enum=pause|rollback" doc:"What a deadline without a verdict leads to; pause when left out: the share stays and people decide."`
	Progress      Duration                        `json:"progress_deadline,omitempty" doc:"The longest that one step may take; without end when left out."`
	Analysis      *RolloutAnalysis                `json:"analysis,omitempty" doc:"What the candidate is judged by."`
	Preview       *RolloutPreview                 `json:"preview,omitempty" doc:"Requests that reach the candidate whatever its share, and tokens that are minted under it."`
	Shadow        *RolloutShadow                  `json:"shadow,omitempty" doc:"What is copied to the candidate, for the strategy shadow."`
	Freeze        []FreezeWindow                  `json:"freeze,omitempty" doc:"Times in which it does not come forward; what takes it back is never frozen."`
	Approvals     *RolloutApprovals               `json:"approvals,omitempty" doc:"Who may approve; wanted when a step waits for approval."`
	Dispositions  map[string]mintmark.Disposition `json:"dispositions,omitempty" doc:"What becomes of a class of the candidate's tokens at a rollback: class to keep, map, reissue or revoke."`
}

// RolloutStep is one step: exactly one of its fields.
type RolloutStep struct {
	SetWeight *Percent      `json:"set_weight,omitempty" doc:"The candidate's share in percent, larger than the one before; canary only."`
	Pause     *RolloutPause `json:"pause,omitempty" doc:"Let time pass, or wait for people."`
	Gate      *RolloutGate  `json:"gate,omitempty" doc:"Wait until the analysis says pass; write gate: {} to wait as long as it takes."`
}

// RolloutPause lets time pass or waits for people.
type RolloutPause struct {
	Duration Duration `json:"duration,omitempty" doc:"How long."`
	Until    string   `json:"until,omitempty" check:"enum=approved" doc:"approved: wait for the approvals."`
	MaxWait  Duration `json:"max_wait,omitempty" doc:"The longest that it waits for approval; without end when left out."`
}

// RolloutGate waits for the analysis.
type RolloutGate struct {
	MaxWait Duration `json:"max_wait,omitempty" doc:"The longest that it waits, then on_inconclusive says what happens; without end when left out."`
}

// RolloutAnalysis says what the candidate is judged by. What is left out is the
// analysis' default.
type RolloutAnalysis struct {
	Alpha       Decimal         `json:"alpha,omitempty" doc:"Bound on the chance of a false alarm; 0.01 when left out."`
	Beta        Decimal         `json:"beta,omitempty" doc:"Bound on the chance of a false pass; 0.05 when left out."`
	NullRatio   Decimal         `json:"null_ratio,omitempty" doc:"Rate of bad events, over that of the stable release, up to which the candidate is not worse; 1 when left out."`
	MaxRatio    Decimal         `json:"max_ratio,omitempty" doc:"The ratio that it must be shown to be below before it passes; 2 when left out, or twice null_ratio."`
	MinExposure int64           `json:"min_exposure,omitempty" check:"min=0" doc:"Subjects that must have met the candidate before it can pass; 50 when left out."`
	MaxDuration Duration        `json:"max_duration,omitempty" doc:"After how long since the start a gate without a verdict is inconclusive; without end when left out."`
	Metrics     []RolloutMetric `json:"metrics,omitempty" doc:"Weights of the built-in metrics; those that are not named keep theirs."`
	Only        bool            `json:"only,omitempty" doc:"Metrics that are not named are watched but do not count."`
	User        []UserMetric    `json:"user,omitempty" doc:"Metrics over each request."`
	Queries     []QueryMetric   `json:"queries,omitempty" doc:"Metrics that Prometheus counts."`
}

// RolloutMetric weighs one built-in metric.
type RolloutMetric struct {
	Name   string   `json:"name" check:"required" doc:"Name of the metric, such as server_error."`
	Weight *Decimal `json:"weight,omitempty" doc:"Its share in the mean of the evidence, 0 to 1000; 0 only watches; 1 when left out."`
	Needed bool     `json:"needed,omitempty" doc:"A pass waits for this metric's own evidence; latency's always is waited for."`
}

// UserMetric is a metric over each request.
type UserMetric struct {
	Name   string  `json:"name" check:"required,name" doc:"The metric is user.NAME."`
	When   string  `json:"when" check:"required" doc:"CEL expression that is true of a bad request, over status, upstream_status, code, route, method, release, client, kind, latency_ms."`
	Weight Decimal `json:"weight,omitempty" doc:"Its share in the mean of the evidence; 1 when left out."`
	About  string  `json:"about,omitempty" doc:"For people."`
}

// QueryMetric is a metric that Prometheus counts.
type QueryMetric struct {
	Name     string   `json:"name" check:"required,name" doc:"The metric is prometheus.NAME."`
	Bad      string   `json:"bad" check:"required" doc:"Query for the count of bad events, by label."`
	Total    string   `json:"total" check:"required" doc:"Query for the count of all events, by label."`
	Label    string   `json:"label,omitempty" doc:"Label that tells the releases apart; release when left out."`
	Interval Duration `json:"interval,omitempty" doc:"Time between two polls, 1s to 5m; 10s when left out."`
	Weight   Decimal  `json:"weight,omitempty" doc:"Its share in the mean of the evidence; 1 when left out."`
	About    string   `json:"about,omitempty" doc:"For people."`
}

// RolloutPreview says how the candidate is reached before it has a share. A request
// is a preview when any of what is given fits.
type RolloutPreview struct {
	Header  string   `json:"header,omitempty" doc:"Name of a request header; it is taken off before the request goes upstream."`
	Cookie  string   `json:"cookie,omitempty" doc:"Name of a cookie; it is taken off before the request goes upstream."`
	Value   string   `json:"value,omitempty" doc:"The exact value of the header or cookie."`
	Host    string   `json:"host,omitempty" check:"host" doc:"Host under which only the candidate is reached; it must be one that the service is served under."`
	Clients []string `json:"clients,omitempty" doc:"Clients whose tokens are minted under the candidate and reach it."`
	Share   Percent  `json:"share,omitempty" doc:"Share of the subjects whose tokens are minted under the candidate, and who reach it, while its weight is 0; in percent."`
}

// RolloutShadow says what is copied. Answers to copies are dropped; their status
// and latency count.
type RolloutShadow struct {
	Percent Percent  `json:"percent" check:"required" doc:"Share of the requests that is copied, in percent."`
	Methods []string `json:"methods,omitempty" check:"method" doc:"Methods that are copied; GET, HEAD and OPTIONS when left out, for a copy must change nothing."`
	MaxBody int64    `json:"max_body,omitempty" check:"min=0,max=1048576" doc:"Largest request body that is copied, in bytes; requests with a larger one are not. 0 copies requests without body only."`
}

// RolloutApprovals says who may approve.
type RolloutApprovals struct {
	Roles    []string `json:"roles" check:"required,nonempty,enum=viewer|operator|security|admin" doc:"Roles of which an approver needs one."`
	Count    int      `json:"count,omitempty" check:"min=0,max=10" doc:"How many people must approve each such step; 1 when left out."`
	Distinct bool     `json:"distinct,omitempty" doc:"Whoever started the rollout may not approve it."`
}

// Freeze keeps rollouts from coming forward for a while. What takes a candidate
// back is never frozen.
type Freeze struct {
	Header
	Description string         `json:"description,omitempty" doc:"For people."`
	Services    []string       `json:"services,omitempty" doc:"Services whose rollouts it holds; all when left out."`
	Windows     []FreezeWindow `json:"windows" check:"required,nonempty" doc:"When it holds."`
}

// FreezeWindow is a time of the week, or one that comes once.
type FreezeWindow struct {
	Name  string   `json:"name,omitempty" doc:"For people."`
	Days  []string `json:"days,omitempty" check:"enum=mon|tue|wed|thu|fri|sat|sun" doc:"Days on which it begins, every week; every day when left out."`
	From  string   `json:"from,omitempty" doc:"Time of day at which it begins, such as 18:00."`
	To    string   `json:"to,omitempty" doc:"Time of day at which it ends, up to 24:00; one that is not after from is on the next day."`
	Zone  string   `json:"zone,omitempty" doc:"Time zone of days, from and to, such as Europe/Berlin; UTC when left out."`
	Begin Moment   `json:"begin,omitempty" doc:"Moment at which it begins, once, such as 2026-12-20T18:00:00+01:00 (RFC 3339)."`
	End   Moment   `json:"end,omitempty" doc:"Moment at which it ends."`
}

// weekdays are the names that days go by.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// On returns the days as numbers, Sunday 0.
func (w *FreezeWindow) On() []time.Weekday {
	var out []time.Weekday
	for _, d := range w.Days {
		for i, name := range weekdays {
			if name == d {
				out = append(out, time.Weekday(i))
			}
		}
	}
	return out
}

// Minutes returns from and to in minutes after midnight; false when one of them is
// not a time of day.
func (w *FreezeWindow) Minutes() (from, to int, ok bool) {
	from, a := minutes(w.From)
	to, b := minutes(w.To)
	return from, to, a && b && from < 24*60
}

func minutes(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	return h*60 + m, m < 60 && h*60+m <= 24*60
}

// Moment is a point of time in Unix milliseconds, written as in RFC 3339; 0 is left
// out.
type Moment int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Moment) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil || t.Year() < 1971 || t.Year() > 9000 {
		return fmt.Errorf("%.40q is not a moment: want one like 2026-12-20T18:00:00+01:00", b)
	}
	*m = Moment(t.UnixMilli())
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m Moment) MarshalText() ([]byte, error) {
	return []byte(time.UnixMilli(int64(m)).UTC().Format(time.RFC3339Nano)), nil
}
