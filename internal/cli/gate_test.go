package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// No output of any verdict but pass reads as a success, and every one is well-formed
// whatever the reasons hold.
func TestGateForms(t *testing.T) {
	for _, verdict := range []string{"pass", "fail", "wait", "inconclusive", verdictUnknown} {
		v := &api.Gate{Rollout: "rol_1", Service: "orders", Candidate: "v2", Verdict: verdict, OK: verdict == "pass", Reasons: []string{"a<b & \"c\"\x1b]\n::set-output name=verdict::pass", "é|`[x](y)"}}
		g := &gate{a: &app{}}
		var suites struct {
			XMLName xml.Name `xml:"testsuites"`
			Suite   struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Case     struct {
					Name    string    `xml:"name,attr"`
					Class   string    `xml:"classname,attr"`
					Failure *struct{} `xml:"failure"`
					Error   *struct{} `xml:"error"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		b, err := junit(v)
		if err != nil || xml.Unmarshal(b, &suites) != nil {
			t.Fatalf("%s: junit %s, %v", verdict, b, err)
		}
		s := suites.Suite
		bad := s.Failures + s.Errors
		if s.Tests != 1 || (bad == 0) != v.OK || (s.Case.Failure != nil) != (s.Failures == 1) || (s.Case.Error != nil) != (s.Errors == 1) || s.Case.Name == "" || s.Case.Class == "" {
			t.Errorf("%s: junit %s", verdict, b)
		}
		var log struct {
			Version string
			Runs    []struct {
				Tool struct {
					Driver struct {
						Name  string
						Rules []struct{ ID string }
					}
				}
				Results []struct {
					RuleID    string
					RuleIndex int
					Level     string
					Message   struct{ Text string }
					Locations []struct {
						PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
					}
				}
			}
		}
		if b, err = g.sarif(v); err != nil || json.Unmarshal(b, &log) != nil || log.Version != "2.1.0" || len(log.Runs) != 1 {
			t.Fatalf("%s: sarif %s, %v", verdict, b, err)
		}
		run := log.Runs[0]
		if (len(run.Results) == 0) != v.OK {
			t.Errorf("%s: sarif %s", verdict, b)
		}
		for _, r := range run.Results {
			if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Message.Text == "" || len(r.Locations) != 1 || r.Locations[0].PhysicalLocation.ArtifactLocation.URI == "" {
				t.Errorf("%s: sarif result %+v", verdict, r)
			}
		}
		env := string(dotenv(v, 1))
		for line := range strings.Lines(env) {
			if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); !ok || !strings.HasPrefix(key, "MINTMARK_") || strings.ContainsAny(value, " \t\"'`$;&|<>(){}\\") {
				t.Errorf("%s: dotenv line %q", verdict, line)
			}
		}
		if note := string(annotation(v, 1)); strings.Count(note, "\n") != 1 || strings.HasPrefix(note, "::notice") != v.OK {
			t.Errorf("%s: annotation %q", verdict, note)
		}
	}
}

// Control that goes away for a while is asked again, and its verdict counts.
func TestGateOutlivesAnAbsence(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			_ = json.NewEncoder(w).Encode(api.Gate{Rollout: "rol_1", Verdict: api.VerdictWait})
		default:
			_ = json.NewEncoder(w).Encode(api.Gate{Rollout: "rol_1", Verdict: api.VerdictPass, OK: true})
		}
	}))
	defer s.Close()
	var out, told bytes.Buffer
	exit := Main(t.Context(), Config{
		Args: []string{"rollout", "gate", "rol_1", "--timeout", "2m"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &told,
		Environ: []string{"MINTMARK_SERVER=" + s.URL, "MINTMARK_TOKEN=x"}, Now: time.Now,
	})
	if exit != 0 || asked.Load() != 3 || !strings.Contains(told.String(), "no answer") {
		t.Errorf("exit %d after %d questions\n%s\n%s", exit, asked.Load(), out.String(), told.String())
	}
}
