package adminapi

import (
	"context"
	"fmt"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// spinnakerCall is what a webhook stage sends: its payload is what the pipeline's
// author wrote.
type spinnakerCall struct {
	ID   string `path:"id" maxLength:"255" doc:"The service, or a rollout."`
	Body struct {
		_         struct{} `additionalProperties:"true"`
		Candidate string   `json:"candidate,omitempty" maxLength:"63" doc:"Starts a rollout to it unless one is under way."`
		Execution string   `json:"execution,omitempty" maxLength:"255" doc:"The pipeline's execution: asked again for it, nothing is started twice."`
	}
	base string
}

// Resolve implements huma.Resolver: the answer holds addresses, and the caller knows
// us by the one that it called.
func (c *spinnakerCall) Resolve(ctx huma.Context) []error {
	scheme := "http"
	if ctx.TLS() != nil || ctx.Header("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	c.base = scheme + "://" + ctx.Host()
	return nil
}

// spinnakerAnswer points to the verdict: Spinnaker polls Location and reads
// $.verdict there.
type spinnakerAnswer struct {
	Location string `header:"Location"`
	Body     struct {
		Rollout mintmark.RolloutID `json:"rollout"`
		Verdict string             `json:"verdict"`
		Message string             `json:"message"`
		Status  string             `json:"status_url"`
		Cancel  string             `json:"cancel_url"` // for POST, with a reason
	}
}

func (s *Server) spinnaker(ctx context.Context, in *spinnakerCall) (*spinnakerAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, hookBound)
	defer cancel()
	if in.Body.Candidate != "" {
		if _, err := s.begin(ctx, in.ID, in.Body.Candidate, "Spinnaker: execution "+in.Body.Execution, in.Body.Execution != ""); err != nil {
			return nil, s.problem(err)
		}
	}
	g, err := s.gateOf(ctx, in.ID, in.Body.Candidate)
	if err != nil {
		return nil, s.problem(err)
	}
	out := &spinnakerAnswer{Location: in.base + "/v1/rollouts/" + url.PathEscape(string(g.Rollout)) + "/gate"}
	out.Body.Rollout, out.Body.Verdict, out.Body.Message, out.Body.Status = g.Rollout, g.Verdict, saying1(g), out.Location
	out.Body.Cancel = in.base + "/v1/rollouts/" + url.PathEscape(string(g.Rollout)) + ":abort"
	return out, nil
}

// kayentaRequest is RemoteJudgeRequest of Kayenta, as far as it matters here. Which
// rollout is meant stands in the canary config's judge configurations.
type kayentaRequest struct {
	Body struct {
		_      struct{} `additionalProperties:"true"`
		Config struct {
			_     struct{} `additionalProperties:"true"`
			Judge struct {
				_             struct{} `additionalProperties:"true"`
				Configuration struct {
					_         struct{} `additionalProperties:"true"`
					Service   string   `json:"service" maxLength:"255"`
					Candidate string   `json:"candidate,omitempty" maxLength:"63"`
				} `json:"judgeConfigurations"`
			} `json:"judge"`
		} `json:"canaryConfig"`
		Thresholds struct {
			_        struct{} `additionalProperties:"true"`
			Pass     float64  `json:"pass"`
			Marginal float64  `json:"marginal"`
		} `json:"scoreThresholds"`
		Pairs []struct {
			_    struct{}          `additionalProperties:"true"`
			Name string            `json:"name"`
			ID   string            `json:"id"`
			Tags map[string]string `json:"tags,omitempty"`
		} `json:"metricSetPairList,omitempty"`
	}
}

// judgeName is the name under which Kayenta looks for a remote judge's answer.
const judgeName = "RemoteJudge-v1.0"

// judgeResult is CanaryJudgeResult of Kayenta.
type judgeResult struct {
	Name    string        `json:"judgeName"`
	Results []judgeMetric `json:"results"`
	Groups  []judgeScore  `json:"groupScores"`
	Score   judgeScore    `json:"score"`
}

// judgeScore is CanaryJudgeScore and CanaryJudgeGroupScore.
type judgeScore struct {
	Name           string  `json:"name,omitempty"`
	Score          float64 `json:"score"`
	Classification string  `json:"classification"`
	Reason         string  `json:"classificationReason"`
}

// judgeMetric is CanaryAnalysisResult.
type judgeMetric struct {
	Name           string            `json:"name"`
	ID             string            `json:"id"`
	Tags           map[string]string `json:"tags"`
	Classification string            `json:"classification"`
	Reason         string            `json:"classificationReason"`
	Groups         []string          `json:"groups"`
	Experiment     map[string]any    `json:"experimentMetadata"`
	Control        map[string]any    `json:"controlMetadata"`
	Result         map[string]any    `json:"resultMetadata"`
	Criticality    string            `json:"criticality"`
}

// kayenta answers with the score that the verdict stands for: 100 for a pass, 0 for a
// fail, and the marginal threshold, which neither passes nor stops a canary, while
// there is none. Kayenta's own measurements are not looked at, and it says so.
func (s *Server) kayenta(ctx context.Context, in *kayentaRequest) (*judgeResult, error) {
	conf, limits := in.Body.Config.Judge.Configuration, in.Body.Thresholds
	if conf.Service == "" {
		return nil, api.NewProblem(api.CodeInvalid, "canaryConfig.judge.judgeConfigurations.service is empty", "name the service there")
	}
	if limits.Pass <= 0 || limits.Pass > 100 || limits.Marginal < 0 || limits.Marginal > limits.Pass {
		return nil, api.NewProblem(api.CodeInvalid, fmt.Sprintf("scoreThresholds: marginal %g and pass %g: want 0 ≤ marginal ≤ pass, 0 < pass ≤ 100", limits.Marginal, limits.Pass), "mend the canary config")
	}
	g, err := s.gateOf(ctx, conf.Service, conf.Candidate)
	if err != nil {
		return nil, err
	}
	score := judgeScore{Classification: "Marginal", Score: limits.Marginal, Reason: saying1(g)}
	switch {
	case g.Verdict == api.VerdictPass:
		score.Classification, score.Score = "Pass", 100
	case g.Verdict == api.VerdictFail, limits.Marginal >= limits.Pass: // the latter leaves no room between
		score.Classification, score.Score = "Fail", 0
	}
	out := &judgeResult{Name: judgeName, Score: score, Results: []judgeMetric{}, Groups: []judgeScore{{Name: "mintmark", Score: score.Score, Classification: score.Classification, Reason: score.Reason}}}
	for _, p := range in.Body.Pairs {
		tags := p.Tags
		if tags == nil {
			tags = map[string]string{}
		}
		out.Results = append(out.Results, judgeMetric{
			Name: p.Name, ID: p.ID, Tags: tags, Classification: "Nodata", Reason: "not looked at: Mintmark judges by the health of tokens", Groups: []string{"mintmark"},
			Experiment: map[string]any{}, Control: map[string]any{}, Result: map[string]any{}, Criticality: "report-only",
		})
	}
	return out, nil
}
