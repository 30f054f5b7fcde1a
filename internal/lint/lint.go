// Package lint answers: what in these resources is legal and yet unwise?
//
// policy.Check refuses what can't work. A rule here names what works and is weak:
// against the best practices of RFC 8725 (JSON Web Tokens) and RFC 9700 (OAuth
// 2.0), or against what Mintmark's own guarantees rest on. Rules have ids that
// never change meaning, a severity, a reason with its source, and a cure; docs/lint.md
// is made from them. A finding may be suppressed where it stands, with a reason.
//
// Everything is pure. Findings come in the order of files and lines.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/policy"
)

// Severity is how much a finding matters.
type Severity string

// Severities, worst first.
const (
	Error   Severity = "error"   // somebody can abuse it
	Warning Severity = "warning" // weaker than it should be
	Note    Severity = "note"    // worth knowing
)

func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Note}, s) }

// AtLeast reports whether s matters as much as other, or more.
func (s Severity) AtLeast(other Severity) bool { return s.rank() <= other.rank() }

// ParseSeverity reads one; the error names all.
func ParseSeverity(text string) (Severity, error) {
	if s := Severity(text); s.rank() >= 0 {
		return s, nil
	}
	return "", fmt.Errorf("%.20q is no severity: want error, warning or note", text)
}

// Rule is one thing that is looked for.
type Rule struct {
	ID       string // MM and three digits; never used again for another meaning
	Name     string // words joined by dashes, for people
	Severity Severity
	Why      string // what can happen
	Fix      string
	Source   string // where the advice comes from
	check    func(c *checker)
}

// Finding is one place where a rule holds.
type Finding struct {
	Rule     string   `json:"rule"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// File, Line and Column say where, from 1; Line is 0 for resources that do not
	// come from a file.
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Resource string `json:"resource"` // Kind/name
	Path     string `json:"path,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix"`
	// Suppressed is the reason given where it was suppressed; empty: it was not.
	Suppressed string `json:"suppressed,omitempty"`
}

// Location returns file:line:column, or the resource when there is no line.
func (f Finding) Location() string {
	if f.Line == 0 {
		return f.Resource
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// Rules returns all rules, by id.
func Rules() []Rule {
	all := slices.Concat(redirectRules(), clientRules(), hookRules(), issuerKeyRules(), issuerTokenRules(),
		lifetimeRules(), scopeRules(), shapeRules(), policyRules(), stalenessRules(), publicRules(), accessRules(), releaseRules(), wayBackRules())
	slices.SortFunc(all, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Check applies every rule to a set that policy.Check has found sound. Files give
// the comments that suppress findings; it may be nil. Suppressed findings are in
// the list, with their reason; a comment that suppresses nothing is a finding too.
func Check(set policy.Set, files []policy.File) []Finding {
	c := &checker{set: set}
	for _, r := range Rules() {
		c.rule = r
		r.check(c)
	}
	suppress(&c.found, files)
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Rule, b.Rule))
	})
	return c.found
}

// item is the path of a list's i-th member.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// checker collects what one rule after the other finds.
type checker struct {
	set   policy.Set
	rule  Rule
	found []Finding
}

func (c *checker) report(r *policy.Resource, path, format string, args ...any) {
	f := Finding{
		Rule: c.rule.ID, Name: c.rule.Name, Severity: c.rule.Severity, Resource: r.ID(), Path: path,
		Message: fmt.Sprintf(format, args...), Fix: c.rule.Fix,
	}
	f.File, f.Line, f.Column = r.Position(path)
	c.found = append(c.found, f)
}

// each visits the resources of one type.
func each[T any](c *checker, visit func(r *policy.Resource, spec *T)) {
	for _, r := range c.set.Resources {
		if spec, ok := r.Spec.(*T); ok {
			visit(r, spec)
		}
	}
}

// directive begins a comment that suppresses findings of its own line or of the
// line below: "# lint:ignore MM032 the partner can't reach control".
const directive = "lint:ignore "

// Unused is the rule of comments that suppress nothing or give no reason.
const Unused = "MM900"

// suppress marks the findings that comments name.
func suppress(found *[]Finding, files []policy.File) {
	type place struct {
		file string
		line int
	}
	at := map[place][]int{}
	for i, f := range *found {
		at[place{f.File, f.Line}] = append(at[place{f.File, f.Line}], i)
	}
	for _, file := range files {
		n := 0
		for line := range strings.Lines(file.Text) {
			n++
			_, comment, ok := strings.Cut(line, "#")
			comment, ok2 := strings.CutPrefix(strings.TrimSpace(comment), directive)
			if !ok || !ok2 {
				continue
			}
			id, reason, _ := strings.Cut(strings.TrimSpace(comment), " ")
			reason = strings.TrimSpace(reason)
			used := false
			for _, i := range slices.Concat(at[place{file.Name, n}], at[place{file.Name, n + 1}]) {
				if f := &(*found)[i]; f.Rule == id && reason != "" {
					f.Suppressed, used = reason, true
				}
			}
			if used {
				continue
			}
			message := fmt.Sprintf("suppresses no finding of %.20q", id)
			if reason == "" {
				message = "gives no reason"
			}
			*found = append(*found, Finding{
				Rule: Unused, Name: "useless-suppression", Severity: Warning, File: file.Name, Line: n, Column: strings.Index(line, "#") + 1,
				Message: message, Fix: "write # lint:ignore ID REASON on the line of the finding or the one above, or remove the comment",
			})
		}
	}
}
