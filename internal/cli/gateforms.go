package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/api"
)

// gateForms are the outputs for pipelines.
func gateForms() []string { return []string{"dotenv", "github", "junit", "sarif", "tekton"} }

// fileForms are those that make sense as a file.
func fileForms() []string { return []string{"dotenv", "json", "junit", "sarif"} }

// checkFiles refuses --write before anything is asked.
func (g *gate) checkFiles() error {
	for _, w := range g.files {
		form, file, ok := strings.Cut(w, "=")
		if !ok || file == "" || !slices.Contains(fileForms(), form) {
			return usage("--write "+quote(w)+" is not FORM=FILE", "FORM is one of "+strings.Join(fileForms(), ", "))
		}
	}
	return nil
}

// writeFiles writes what --write asked for, and what a runner reads beside standard
// output. A file is whole or not there.
func (g *gate) writeFiles(v *api.Gate, exit int) error {
	f, err := g.a.format(gateForms()...)
	switch {
	case err != nil:
		return err
	case f == "github":
		err = g.github(v, exit)
	case f == "tekton":
		err = g.tekton(v, exit)
	}
	if err != nil {
		return err
	}
	for _, w := range g.files {
		form, file, _ := strings.Cut(w, "=")
		b, err := g.form(form, v, exit)
		if err != nil {
			return err
		}
		if err := publish(file, b); err != nil {
			return err
		}
	}
	return nil
}

// publish replaces a file that other programs of the pipeline are to read.
func publish(name string, b []byte) error {
	if err := replaceFile(name, b); err != nil {
		return err
	}
	return os.Chmod(name, 0o644)
}

func (g *gate) form(form string, v *api.Gate, exit int) ([]byte, error) {
	switch form {
	case "junit":
		return junit(v)
	case "sarif":
		return g.sarif(v)
	case "dotenv":
		return dotenv(v, exit), nil
	case "github":
		return annotation(v, exit), nil
	case "tekton":
		return []byte(said(v) + "\n"), nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// said is the verdict in one line.
func said(v *api.Gate) string {
	s := "verdict " + v.Verdict
	if v.Service != "" {
		s += fmt.Sprintf(" on %s of %s at %s%%", v.Candidate, v.Service, percent(v.Percent))
	}
	if len(v.Reasons) > 0 {
		s += ": " + strings.Join(v.Reasons, "; ")
	}
	return plainCell(s)
}

// fields are what shells, steps and tasks read. Values are one line each.
func fields(v *api.Gate, exit int) [][2]string {
	return [][2]string{
		{"verdict", v.Verdict},
		{"ok", strconv.FormatBool(v.OK)},
		{"exit", strconv.Itoa(exit)},
		{"rollout", string(v.Rollout)},
		{"service", v.Service},
		{"candidate", v.Candidate},
		{"stable", v.Stable},
		{"state", v.State},
		{"percent", percent(v.Percent)},
		{"epoch", num(v.Epoch)},
		{"receipt", string(v.Receipt)},
		{"reason", strings.Join(v.Reasons, "; ")},
	}
}

// unsafeInEnv is what would make a line of a dotenv file mean something else to one
// of its readers: they differ about quotes and blanks, so there are none.
var unsafeInEnv = regexp.MustCompile("[^A-Za-z0-9.,:/@+%-]+")

// dotenv is KEY=VALUE a line, good for GitLab, which takes neither quotes nor line
// breaks, and for a shell that sources it: what it would act on becomes an underscore.
func dotenv(v *api.Gate, exit int) []byte {
	var b bytes.Buffer
	for _, f := range fields(v, exit) {
		fmt.Fprintf(&b, "MINTMARK_%s=%s\n", strings.ToUpper(f[0]), strings.Trim(unsafeInEnv.ReplaceAllString(f[1], "_"), "_"))
	}
	return b.Bytes()
}

// junit is one suite of one case. Whatever is not a pass is a failure, and no
// verdict an error: a reader that knows no third state must not go on.
func junit(v *api.Gate) ([]byte, error) {
	type trouble struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Time    string   `xml:"time,attr"`
		Error   *trouble `xml:"error,omitempty"`
		Failure *trouble `xml:"failure,omitempty"`
		Out     string   `xml:"system-out,omitempty"`
	}
	type suite struct {
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Time     string   `xml:"time,attr"`
		Stamp    string   `xml:"timestamp,attr"`
		Case     testcase `xml:"testcase"`
	}
	type suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suite    suite    `xml:"testsuite"`
	}
	s := suite{Name: "mintmark.rollout", Tests: 1, Time: "0", Stamp: v.At.UTC().Format("2006-01-02T15:04:05")}
	s.Case = testcase{Class: "mintmark.rollout." + first(v.Service, string(v.Rollout)), Name: "gate " + string(v.Rollout), Time: "0", Out: said(v)}
	t := &trouble{Message: said(v), Type: v.Verdict, Text: strings.Join(v.Reasons, "\n")}
	switch {
	case v.OK:
	case v.Verdict == verdictUnknown:
		s.Errors, s.Case.Error = 1, t
	default:
		s.Failures, s.Case.Failure = 1, t
	}
	b, err := xml.MarshalIndent(suites{Name: "mintmark", Tests: 1, Failures: s.Failures, Errors: s.Errors, Suite: s}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit: %w", err)
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}

// gateRules are the SARIF rules, by verdict.
var gateRules = []struct{ verdict, id, name, level, text string }{
	{api.VerdictFail, "MMG001", "candidate-fails", "error", "The candidate release is worse than the stable one, or was taken back."},
	{api.VerdictInconclusive, "MMG002", "verdict-inconclusive", "warning", "Nothing certain can be said about the candidate release."},
	{api.VerdictWait, "MMG003", "verdict-outstanding", "warning", "There is no verdict about the candidate release yet."},
	{verdictUnknown, "MMG004", "control-unreachable", "error", "Control did not answer, so nobody judged the candidate release."},
}

// sarif is a log with no result for a pass and one for anything else. A service is
// no file, so the place is told twice: by its name, and as a path that code
// scanning, which wants one, can show.
func (g *gate) sarif(v *api.Gate) ([]byte, error) {
	type text struct {
		Text string `json:"text"`
	}
	rules, results := []any{}, []any{}
	for i, r := range gateRules {
		rules = append(rules, map[string]any{
			"id": r.id, "name": r.name, "shortDescription": text{r.text}, "defaultConfiguration": map[string]string{"level": r.level},
		})
		if v.OK || r.verdict != v.Verdict {
			continue
		}
		service := first(v.Service, string(v.Rollout))
		results = append(results, map[string]any{
			"ruleId": r.id, "ruleIndex": i, "level": r.level, "message": text{said(v)},
			"locations": []any{map[string]any{
				"physicalLocation": map[string]any{"artifactLocation": map[string]string{"uri": "mintmark/" + service}, "region": map[string]int{"startLine": 1}},
				"logicalLocations": []any{map[string]string{"fullyQualifiedName": service + "/" + v.Candidate, "kind": "resource"}},
			}},
			"partialFingerprints": map[string]string{"mintmarkRollout/v1": string(v.Rollout) + " " + v.Verdict},
		})
	}
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{
			"tool":    map[string]any{"driver": map[string]any{"name": "mintmark-gate", "version": g.a.Version, "rules": rules}},
			"results": results,
		}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode SARIF: %w", err)
	}
	return append(b, '\n'), nil
}

// github appends the step's outputs and the job's summary to the files that the
// runner names.
func (g *gate) github(v *api.Gate, exit int) error {
	var outputs, summary bytes.Buffer
	for _, f := range fields(v, exit) {
		fmt.Fprintf(&outputs, "%s=%s\n", f[0], plainCell(f[1]))
	}
	fmt.Fprintf(&summary, "### Mintmark: %s\n\n| | |\n|---|---|\n", v.Verdict)
	for _, row := range gateTable(v).rows {
		fmt.Fprintf(&summary, "| %s | %s |\n", markdown(row[0]), markdown(row[1]))
	}
	for _, reason := range v.Reasons {
		fmt.Fprintf(&summary, "\n- %s", markdown(reason))
	}
	summary.WriteString("\n")
	for _, f := range []struct {
		env  string
		text []byte
	}{{"GITHUB_OUTPUT", outputs.Bytes()}, {"GITHUB_STEP_SUMMARY", summary.Bytes()}} {
		name := g.a.getenv(f.env)
		if name == "" {
			continue
		}
		if err := appendFile(name, f.text); err != nil {
			return fmt.Errorf("append to %s: %w", f.env, err)
		}
	}
	return nil
}

// annotation is a workflow command: what stands at the top of the run's page.
func annotation(v *api.Gate, exit int) []byte {
	kind := "error"
	switch {
	case v.OK:
		kind = "notice"
	case v.Verdict == api.VerdictWait, v.Verdict == api.VerdictInconclusive, exit == api.ExitOK:
		kind = "warning"
	}
	return []byte("::" + kind + " title=Mintmark " + v.Verdict + "::" + workflowText(said(v)) + "\n")
}

// workflowText escapes what ends a workflow command.
func workflowText(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// markdown keeps what others chose from making links, cells or HTML.
func markdown(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "[", "\\[", "`", "'", "&", "&amp;").Replace(plainCell(s))
}

func appendFile(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// maxResult bounds one of Tekton's results: all of a task's share 4,096 bytes of a
// container's termination message.
const maxResult = 1024

// tekton writes one file for each result, without a line break at its end.
func (g *gate) tekton(v *api.Gate, exit int) error {
	for _, f := range fields(v, exit) {
		value := f[1]
		if len(value) > maxResult {
			value = strings.ToValidUTF8(value[:maxResult], "")
		}
		if err := publish(filepath.Join(g.results, f[0]), []byte(value)); err != nil {
			return fmt.Errorf("write result %s: %w", f[0], err)
		}
	}
	return nil
}
