package main

import (
	"context"
	"fmt"
	"time"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// metric measures the verdict: a pass is successful, a fail failed, and while there
// is none the measurement goes on (Running, ResumeAt), so that waiting uses up no
// count and no limit of Argo's.
type metric struct{ *mintmarkPlugin }

// Run starts a measurement.
func (m metric) Run(_ *v1alpha1.AnalysisRun, k v1alpha1.Metric) v1alpha1.Measurement {
	now := metav1.Now()
	return m.measure(k, v1alpha1.Measurement{StartedAt: &now})
}

// Resume goes on with one.
func (m metric) Resume(_ *v1alpha1.AnalysisRun, k v1alpha1.Metric, old v1alpha1.Measurement) v1alpha1.Measurement {
	return m.measure(k, old)
}

func (m metric) measure(k v1alpha1.Metric, out v1alpha1.Measurement) v1alpha1.Measurement {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	now := metav1.Now()
	out.ResumeAt = nil
	o, err := parse(k.Provider.Plugin[name])
	if err == nil {
		g, e := m.gate(ctx, o.Service, o)
		if err = e; err == nil {
			out.Value, out.Message = g.Verdict, about(g)
			out.Metadata = map[string]string{
				"rollout": string(g.Rollout), "percent": fmt.Sprintf("%g", g.Percent), "e_fail": fmt.Sprintf("%.4g", g.EFail), "e_safe": fmt.Sprintf("%.4g", g.ESafe),
			}
			switch g.Verdict {
			case "pass":
				out.Phase = v1alpha1.AnalysisPhaseSuccessful
			case "fail":
				out.Phase = v1alpha1.AnalysisPhaseFailed
			case "wait":
				again := metav1.NewTime(now.Add(askAgain))
				out.Phase, out.ResumeAt = v1alpha1.AnalysisPhaseRunning, &again
				return out
			default:
				out.Phase = v1alpha1.AnalysisPhaseInconclusive
			}
		}
	}
	if err != nil {
		out.Phase, out.Message = v1alpha1.AnalysisPhaseError, err.Error()
	}
	out.FinishedAt = &now
	return out
}

// Terminate ends a measurement that nobody waits for any more.
func (m metric) Terminate(_ *v1alpha1.AnalysisRun, _ v1alpha1.Metric, out v1alpha1.Measurement) v1alpha1.Measurement {
	now := metav1.NewTime(time.Now())
	out.Phase, out.FinishedAt, out.ResumeAt, out.Message = v1alpha1.AnalysisPhaseSuccessful, &now, nil, "terminated before there was a verdict"
	return out
}

// GarbageCollect has nothing to collect.
func (m metric) GarbageCollect(*v1alpha1.AnalysisRun, v1alpha1.Metric, int) types.RpcError {
	return types.RpcError{}
}

// Type names the plugin.
func (m metric) Type() string { return name }

// GetMetadata says what is asked.
func (m metric) GetMetadata(k v1alpha1.Metric) map[string]string {
	o, err := parse(k.Provider.Plugin[name])
	if err != nil {
		return nil // the measurement says what is wrong
	}
	return map[string]string{"service": o.Service, "candidate": o.Candidate}
}
