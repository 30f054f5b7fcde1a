package lint

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// SARIF returns the findings as a SARIF 2.1.0 log, for code scanning services.
// Version is the program's own. Findings of resources that do not come from a file
// have a logical location.
func SARIF(findings []Finding, version string) ([]byte, error) {
	type text struct {
		Text string `json:"text"`
	}
	type described struct {
		ID      string            `json:"id"`
		Name    string            `json:"name"`
		Short   text              `json:"shortDescription"`
		Full    text              `json:"fullDescription"`
		Help    text              `json:"help"`
		Default map[string]string `json:"defaultConfiguration"`
	}
	type result struct {
		RuleID       string           `json:"ruleId"`
		RuleIndex    int              `json:"ruleIndex"`
		Level        string           `json:"level"`
		Message      text             `json:"message"`
		Locations    []map[string]any `json:"locations"`
		Suppressions []map[string]any `json:"suppressions,omitempty"`
	}
	index := map[string]int{}
	var rules []described
	for i, r := range append(Rules(), unusedRule()) {
		index[r.ID] = i
		rules = append(rules, described{
			ID: r.ID, Name: r.Name, Short: text{r.Why}, Full: text{r.Why + " (" + r.Source + ")"}, Help: text{r.Fix},
			Default: map[string]string{"level": string(r.Severity)},
		})
	}
	results := make([]result, 0, len(findings))
	for _, f := range findings {
		at := map[string]any{"logicalLocations": []any{map[string]string{"fullyQualifiedName": f.Resource}}}
		if f.Line > 0 {
			at["physicalLocation"] = map[string]any{
				"artifactLocation": map[string]string{"uri": filepath.ToSlash(strings.TrimPrefix(f.File, "./"))},
				"region":           map[string]int{"startLine": f.Line, "startColumn": f.Column},
			}
		}
		what := f.Message
		if f.Path != "" {
			what = f.Path + ": " + what
		}
		r := result{RuleID: f.Rule, RuleIndex: index[f.Rule], Level: string(f.Severity), Message: text{what + "; " + f.Fix}, Locations: []map[string]any{at}}
		if f.Suppressed != "" {
			r.Suppressions = []map[string]any{{"kind": "inSource", "justification": f.Suppressed}}
		}
		results = append(results, r)
	}
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{
			"tool":    map[string]any{"driver": map[string]any{"name": "mintmark", "version": version, "rules": rules}},
			"results": results, "columnKind": "unicodeCodePoints",
		}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode SARIF: %w", err)
	}
	return append(b, '\n'), nil
}

// unusedRule describes what Check finds about comments.
func unusedRule() Rule {
	return Rule{
		ID: Unused, Name: "useless-suppression", Severity: Warning,
		Why: "A comment that suppresses nothing hides the next finding in its place.", Fix: "remove it, or give it a rule's id and a reason",
		Source: "docs/lint.md",
	}
}

// Describe returns a rule by its id or name.
func Describe(id string) (Rule, bool) {
	for _, r := range append(Rules(), unusedRule()) {
		if strings.EqualFold(r.ID, id) || r.Name == id {
			return r, true
		}
	}
	return Rule{}, false
}
