package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in a configuration: what is wrong, where, how to mend it.
type Error struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // from 1; 0 when there is no line
	Col  int    `json:"col,omitempty"`
	Path string `json:"path,omitempty"` // listen.admin.address
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
	// Text is the offending line, for the caret.
	Text string `json:"-"`
}

// Error implements error as "file:line:col: path: what; fix".
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.What)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	if e.Text != "" && e.Col > 0 && e.Col <= len(e.Text)+1 {
		fmt.Fprintf(&b, "\n    %s\n    %s^", e.Text, strings.Repeat(" ", e.Col-1))
	}
	return b.String()
}

// Errors are all mistakes found, in the order of the file.
type Errors []Error

// Error implements error, a mistake a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, x := range e {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// nearest returns the candidate closest to name, or "" when none is close.
func nearest(name string, candidates []string) string {
	best, at := 3, ""
	for _, c := range candidates {
		if d := distance(name, c); d < best && d < len(name) {
			best, at = d, c
		}
	}
	return at
}

// distance is the Levenshtein distance; names are short.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, cost)
		}
	}
	return row[len(b)]
}
