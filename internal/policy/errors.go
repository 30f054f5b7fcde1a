package policy

import (
	"fmt"
	"sort"
	"strings"
)

// Error is one thing that is wrong with the resources.
type Error struct {
	// File, Line and Col say where; Line and Col start at 1 and are 0 when the
	// resource does not come from a file.
	File      string
	Line, Col int
	// Resource is Kind/name, and Path the field, such as routes[2].path.
	Resource, Path string
	Message        string
	Fix            string // what to write instead; may be empty
}

// Location returns file:line:col, or the resource when there is no line.
func (e Error) Location() string {
	if e.Line == 0 {
		if e.Resource != "" {
			return e.Resource
		}
		return e.File
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Col)
}

// What returns what is wrong, with the field.
func (e Error) What() string {
	var b strings.Builder
	if e.Resource != "" && e.Line != 0 {
		b.WriteString(e.Resource + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Error implements error.
func (e Error) Error() string {
	s := e.Location() + ": " + e.What()
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Errors are all that is wrong, in the order of files and lines.
type Errors []Error

// MaxErrors bounds how many errors are collected.
const MaxErrors = 200

// Error implements error: one line each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (es Errors) sorted() Errors {
	sort.SliceStable(es, func(i, j int) bool {
		a, b := es[i], es[j]
		switch {
		case a.File != b.File:
			return a.File < b.File
		case a.Line != b.Line:
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	if len(es) > MaxErrors {
		es = es[:MaxErrors:MaxErrors]
	}
	return es
}

// suggest returns "did you mean X?" when a known word is near, else a list.
func suggest(word string, known []string) string {
	best, bestAt := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestAt && d < len(k) {
			best, bestAt = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	if len(known) == 0 {
		return ""
	}
	list := append([]string(nil), known...)
	sort.Strings(list)
	if len(list) > 24 {
		return fmt.Sprintf("known: %s …", strings.Join(list[:24], ", "))
	}
	return "known: " + strings.Join(list, ", ")
}

// distance is the optimal string alignment distance, capped: words longer than 64
// bytes are far from everything.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
