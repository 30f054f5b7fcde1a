package rollout

import "github.com/mintmark/mintmark/internal/policy"

// FromFile is the spec that a checked file declares.
func FromFile(f *policy.Rollout) *Spec {
	s := &Spec{
		AutoPromote: f.PromotesItself(), HandRollback: f.Rollback == "manual", Inconclusive: f.Inconclusive, Dispositions: f.Dispositions,
		Progress: f.Progress.Milliseconds(), Finalise: f.FinaliseAfter.Milliseconds(), Freeze: Windows(f.Freeze),
	}
	for i := range f.Steps {
		switch st := &f.Steps[i]; {
		case st.SetWeight != nil:
			s.Steps = append(s.Steps, SpecStep{Kind: StepWeight, Weight: int(*st.SetWeight)})
		case st.Gate != nil:
			s.Steps = append(s.Steps, SpecStep{Kind: StepGate, Millis: st.Gate.MaxWait.Milliseconds()})
		case st.Pause.Until != "":
			s.Steps = append(s.Steps, SpecStep{Kind: StepApproval, Millis: st.Pause.MaxWait.Milliseconds()})
		default:
			s.Steps = append(s.Steps, SpecStep{Kind: StepPause, Millis: st.Pause.Duration.Milliseconds()})
		}
	}
	if a := f.Analysis; a != nil {
		s.Analysis = &Analysis{Spec: a.Spec(), MaxDuration: a.MaxDuration.Milliseconds()}
	}
	if p := f.Preview; p != nil {
		s.Preview = &Preview{Header: p.Header, Cookie: p.Cookie, Value: p.Value, Host: p.Host, Clients: p.Clients, Share: int(p.Share)}
	}
	if m := f.Shadow; m != nil {
		s.Mirror = &Mirror{Share: int(m.Percent), Methods: m.Methods, MaxBody: m.MaxBody}
	}
	if a := f.Approvals; a != nil {
		s.Approvals = &Approvals{Roles: a.Roles, Count: a.Count, Distinct: a.Distinct}
	}
	return s
}

// Windows are freeze windows as they were declared.
func Windows(declared []policy.FreezeWindow) []Window {
	var out []Window
	for i := range declared {
		d := &declared[i]
		w := Window{Name: d.Name, Zone: d.Zone, Days: d.On()}
		if d.Begin != 0 || d.End != 0 {
			w.Begin, w.End = int64(d.Begin), int64(d.End)
		} else {
			w.From, w.To, _ = d.Minutes()
		}
		out = append(out, w)
	}
	return out
}
