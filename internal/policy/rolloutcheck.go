package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/health"
)

// ParseRollout reads a file that holds one document of kind Rollout, and judges it
// as a whole. On any error nothing is returned.
func ParseRollout(f File) (*Rollout, Errors) {
	set, errs := Parse([]File{f})
	if len(errs) > 0 {
		return nil, errs
	}
	if len(set.Resources) != 1 || set.Resources[0].Kind != KindRollout {
		e := Error{File: f.Name, Line: 1, Col: 1, Message: fmt.Sprintf("holds %d documents, want one of kind Rollout", len(set.Resources)), Fix: "apply resources with mintmark apply, start one rollout a file"}
		for _, r := range set.Resources {
			if r.Kind != KindRollout {
				at := r.at["kind"]
				e = Error{File: f.Name, Line: at.line, Col: at.col, Resource: r.ID(), Path: "kind", Message: "want kind Rollout, and nothing else in the file", Fix: "apply resources with mintmark apply"}
			}
		}
		return nil, Errors{e}
	}
	r := set.Resources[0]
	c := rolloutCheck{r: r, s: r.Spec.(*Rollout)}
	c.all()
	if len(c.errs) > 0 {
		return nil, c.errs.sorted()
	}
	return c.s, nil
}

// PromotesItself says what comes after the last step.
func (s *Rollout) PromotesItself() bool {
	return s.Promote == "automatic" || s.Promote == "" && slices.ContainsFunc(s.Steps, func(st RolloutStep) bool { return st.Gate != nil })
}

type rolloutCheck struct {
	r    *Resource
	s    *Rollout
	errs Errors
}

func (c *rolloutCheck) fail(path, message, fix string) { c.r.fail(&c.errs, path, message, fix) }

func (c *rolloutCheck) all() {
	gates, approvals := c.steps()
	c.contradictions(gates, approvals)
	c.compared()
	c.analysis(gates)
	c.preview()
	checkWindows(c.r, "freeze", c.s.Freeze, &c.errs)
	for class := range c.s.Dispositions {
		if known := []string{"over_scoped", "wrong_audience", "native", "mapped", "lossy", "reissuable", "none"}; !slices.Contains(known, class) {
			c.fail("dispositions."+class, fmt.Sprintf("no token is of class %q", short(class)), suggest(class, known))
		}
	}
}

// steps judges each step and their order; it counts gates and approvals.
func (c *rolloutCheck) steps() (gates, approvals int) {
	last, given := Percent(-1), ""
	for i := range c.s.Steps {
		s, at := &c.s.Steps[i], fmt.Sprintf("steps[%d]", i)
		n := 0
		for _, have := range []bool{s.SetWeight != nil, s.Pause != nil, s.Gate != nil} {
			if have {
				n++
			}
		}
		if n != 1 {
			c.fail(at, fmt.Sprintf("says %d things, want one", n), "write one of set_weight, pause, gate; each in a step of its own")
			continue
		}
		if w := s.SetWeight; w != nil {
			switch {
			case c.s.Strategy != strategyCanary:
				c.fail(at+".set_weight", fmt.Sprintf("a %s rollout has no share", c.s.Strategy), "choose strategy: canary, or remove the step")
			case *w < last:
				c.fail(at+".set_weight", fmt.Sprintf("%s%% is less than the %s%% before: shares only grow", *w, last), "order the steps by share; a rollback takes traffic back")
			case *w == last:
				c.fail(at+".set_weight", fmt.Sprintf("%s%% is the share already", *w), "remove one of the two steps")
			case given != "":
				c.fail(at+".set_weight", "follows another set_weight at once, which nobody would ever see", "put a pause or a gate between them, or remove "+given)
			}
			last, given = *w, at
			continue
		}
		given = ""
		if s.Gate != nil {
			gates++
			continue
		}
		switch p := s.Pause; {
		case p.Until == "" && p.Duration == 0:
			c.fail(at+".pause", "says neither how long nor until when", "write pause: {duration: 10m} or pause: {until: approved}")
		case p.Until != "" && p.Duration != 0:
			c.fail(at+".pause", "both duration and until: which of the two ends it?", "make it two steps")
		case p.Until == "" && p.MaxWait != 0:
			c.fail(at+".pause.max_wait", "goes with until: approved only", "remove it")
		case p.Until != "":
			approvals++
		case c.s.Progress > 0 && p.Duration >= c.s.Progress:
			c.fail(at+".pause.duration", fmt.Sprintf("is as long as progress_deadline (%s) or longer: the rollout would never get past it", c.s.Progress), "shorten the pause or lengthen progress_deadline")
		}
	}
	return gates, approvals
}

// contradictions judges what one part of the file says against another.
func (c *rolloutCheck) contradictions(gates, approvals int) {
	s := c.s
	if gates > 0 && s.Analysis == nil {
		for i := range s.Steps {
			if s.Steps[i].Gate != nil {
				c.fail(fmt.Sprintf("steps[%d].gate", i), "there is no analysis that could open the gate", "add analysis: {}")
			}
		}
	}
	if s.Promote == "automatic" && s.Analysis == nil {
		c.fail("promote", "nothing would say whether the candidate is well", "add analysis: {}, or write promote: manual")
	}
	if approvals > 0 && s.Approvals == nil {
		c.fail("steps", "a step waits for approval and nobody is named who may give it", "add approvals: {roles: [security]}")
	}
	if s.Approvals != nil && approvals == 0 {
		c.fail("approvals", "no step waits for them", "add a step pause: {until: approved}, or remove approvals")
	}
	if s.Strategy == strategyShadow && s.Shadow == nil {
		c.fail("strategy", "a shadow rollout must say what is copied", "add shadow: {percent: 10}")
	}
	if s.Shadow != nil && s.Strategy != strategyShadow {
		c.fail("shadow", fmt.Sprintf("a %s rollout copies nothing", s.Strategy), "choose strategy: shadow, or remove it")
	}
	if s.Shadow != nil && s.Shadow.Percent == 0 {
		c.fail("shadow.percent", "copies nothing", "give a share above 0")
	}
	if s.Rollback == "manual" && s.Inconclusive == "rollback" {
		c.fail("on_inconclusive", "rollback is manual: what fails would only pause, what is merely inconclusive would be taken back", "write on_inconclusive: pause, or rollback: automatic")
	}
	if s.Inconclusive != "" && s.Progress == 0 && !c.waits() {
		c.fail("on_inconclusive", "no step has a deadline that could come to it", "add progress_deadline, max_wait of a step, or analysis.max_duration")
	}
}

// compared finds gates that could never open: as long as nobody meets the candidate
// there is nothing to compare.
func (c *rolloutCheck) compared() {
	if c.s.Strategy == strategyShadow || c.s.Preview != nil && c.s.Preview.Share > 0 {
		return
	}
	const fix = "give a share before it, or preview: {share: 5}, or let people approve in its place"
	met := false
	for i := range c.s.Steps {
		s := &c.s.Steps[i]
		met = met || s.SetWeight != nil && *s.SetWeight > 0
		if s.Gate != nil && !met {
			c.fail(fmt.Sprintf("steps[%d].gate", i), "nobody meets the candidate yet: there is nothing that the analysis could compare", fix)
			return
		}
	}
	if c.s.Promote == "automatic" && !met && c.s.Analysis != nil {
		c.fail("promote", "nobody meets the candidate before it: the analysis would never say pass", fix)
	}
}

// waits reports whether some step has a deadline.
func (c *rolloutCheck) waits() bool {
	if a := c.s.Analysis; a != nil && a.MaxDuration > 0 {
		return true
	}
	return slices.ContainsFunc(c.s.Steps, func(s RolloutStep) bool {
		return s.Gate != nil && s.Gate.MaxWait > 0 || s.Pause != nil && s.Pause.MaxWait > 0
	})
}

// Spec returns the analysis as health goes by it.
func (a *RolloutAnalysis) Spec() health.Spec {
	out := health.Spec{
		Alpha: a.Alpha.Float(), Beta: a.Beta.Float(), Tolerated: a.NullRatio.Float(), Acceptable: a.MaxRatio.Float(), MinSubjects: uint64(a.MinExposure),
	}
	named := map[string]bool{}
	for _, m := range a.Metrics {
		named[m.Name] = true
		weight := 1.0
		if m.Weight != nil {
			weight = m.Weight.Float()
		}
		out.Metrics = append(out.Metrics, health.MetricSpec{Name: health.Metric(m.Name), Weight: weight, Needed: m.Needed})
	}
	if a.Only {
		for _, e := range health.Catalogue() {
			if !named[string(e.Name)] && e.Kind != health.Invariant {
				out.Metrics = append(out.Metrics, health.MetricSpec{Name: e.Name})
			}
		}
	}
	for _, u := range a.User {
		out.User = append(out.User, health.UserSpec{Name: u.Name, When: u.When, Weight: u.Weight.Float(), About: u.About})
	}
	for _, q := range a.Queries {
		out.Queries = append(out.Queries, health.QuerySpec{
			Name: q.Name, Bad: q.Bad, Total: q.Total, Label: q.Label, IntervalMS: q.Interval.Milliseconds(), Weight: q.Weight.Float(), About: q.About,
		})
	}
	return out
}

func (c *rolloutCheck) analysis(gates int) {
	a := c.s.Analysis
	if a == nil {
		return
	}
	var known []string
	for _, e := range health.Catalogue() {
		known = append(known, string(e.Name))
	}
	for i, m := range a.Metrics {
		at := fmt.Sprintf("analysis.metrics[%d].name", i)
		switch {
		case strings.HasPrefix(m.Name, "user.") || strings.HasPrefix(m.Name, "prometheus."):
			c.fail(at, fmt.Sprintf("%q is declared with its own weight", short(m.Name)), "set weight where it is declared")
		case !slices.Contains(known, m.Name):
			c.fail(at, fmt.Sprintf("there is no metric %q", short(m.Name)), suggest(m.Name, known))
		}
	}
	if a.Only && len(a.Metrics)+len(a.User)+len(a.Queries) == 0 {
		c.fail("analysis.only", "no metric is named: nothing would count", "name metrics, or remove it")
	}
	if gates > 0 && a.MaxDuration > 0 && c.beforeGate() >= a.MaxDuration {
		c.fail("analysis.max_duration", fmt.Sprintf("the pauses before the last gate take %s: its time would be over before it is reached", c.beforeGate()), "lengthen max_duration or shorten the pauses")
	}
	if len(c.errs) > 0 {
		return // what follows would say the same things again, less precisely
	}
	// The analysis knows best what it can't go by; its fields are named alike but for
	// these.
	names := strings.NewReplacer("tolerated", "null_ratio", "acceptable", "max_ratio", "min_subjects", "min_exposure", "interval_ms", "interval")
	for _, err := range split(a.Spec().Check()) {
		text := strings.TrimPrefix(err.Error(), health.ErrSpec.Error()+": ")
		field, message, _ := strings.Cut(text, ": ")
		c.fail("analysis."+names.Replace(field), names.Replace(message), "")
	}
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// beforeGate is how long the pauses before the last gate take.
func (c *rolloutCheck) beforeGate() (out Duration) {
	var sum Duration
	for i := range c.s.Steps {
		switch s := &c.s.Steps[i]; {
		case s.Pause != nil:
			sum += s.Pause.Duration
		case s.Gate != nil:
			out = sum
		}
	}
	return out
}

// reservedPreview can't be asked for: credentials, framing, and what only gateways
// say.
var reservedPreview = []string{
	"authorization", "cookie", "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "x-api-key", "dpop",
	"forwarded", "origin", "content-type", "accept", "traceparent",
}

func (c *rolloutCheck) preview() {
	p := c.s.Preview
	if p == nil {
		return
	}
	if p.Header == "" && p.Cookie == "" && p.Host == "" && len(p.Clients) == 0 && p.Share == 0 {
		c.fail("preview", "names nothing by which a request could be told", "add header and value, cookie and value, host, clients or share")
	}
	if p.Header != "" && p.Cookie != "" {
		c.fail("preview.cookie", "both header and cookie: value is of which of the two?", "keep one of them")
	}
	if (p.Header != "" || p.Cookie != "") != (p.Value != "") {
		c.fail("preview", "header or cookie, and value, go together", "give both")
	}
	for field, name := range map[string]string{"preview.header": p.Header, "preview.cookie": p.Cookie} {
		low := strings.ToLower(name)
		switch {
		case name == "":
		case strings.ContainsFunc(name, func(r rune) bool { return !token(r) }):
			c.fail(field, fmt.Sprintf("%q can't be its name", short(name)), "use letters, digits and dashes")
		case field == "preview.header" && (slices.Contains(reservedPreview, low) || strings.HasPrefix(low, "mintmark-") || strings.HasPrefix(low, "x-forwarded-") || strings.Contains(low, "_")):
			c.fail(field, fmt.Sprintf("%q has a meaning of its own", short(name)), "choose another, such as X-Preview")
		}
	}
	if len(p.Value) > 256 || strings.ContainsFunc(p.Value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;\`, r) }) {
		c.fail("preview.value", "holds what a header or cookie can't", "use up to 256 printable ASCII characters without spaces, quotes, commas and semicolons")
	}
	if strings.HasPrefix(p.Host, "*.") {
		c.fail("preview.host", "must be one host", "write it out")
	}
}

// token reports whether a character may stand in a header's name (RFC 9110 §5.6.2).
func token(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// checkWindows judges freeze windows.
func checkWindows(r *Resource, path string, windows []FreezeWindow, es *Errors) {
	for i := range windows {
		w, at := &windows[i], fmt.Sprintf("%s[%d]", path, i)
		weekly, once := w.From != "" || w.To != "" || len(w.Days) > 0 || w.Zone != "", w.Begin != 0 || w.End != 0
		if weekly == once {
			r.fail(es, at, "want either a time of the week or a moment", "give from and to, or begin and end")
			continue
		}
		if once {
			switch {
			case w.Begin == 0 || w.End == 0:
				r.fail(es, at, "begin and end go together", "give both")
			case w.End <= w.Begin:
				r.fail(es, at+".end", "is not after begin", "exchange the two")
			}
			continue
		}
		if _, _, ok := w.Minutes(); !ok {
			r.fail(es, at, "from and to must both be times of day", `write them in quotes like "18:00"; to may be "24:00"`)
		}
		if _, err := time.LoadLocation(w.Zone); err != nil || strings.EqualFold(w.Zone, "local") {
			r.fail(es, at+".zone", fmt.Sprintf("there is no time zone %q", short(w.Zone)), "write one like Europe/Berlin or UTC")
		}
	}
}

func checkFreeze(s Set, r *Resource, f *Freeze, es *Errors) {
	for i, name := range f.Services {
		if s.Get(KindService, name) == nil {
			m, fix := missing(KindService, name, s)
			r.fail(es, fmt.Sprintf("services[%d]", i), m, fix)
		}
	}
	checkWindows(r, "windows", f.Windows, es)
}
