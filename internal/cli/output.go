package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mintmark/mintmark/api"
)

// table is a value for people. Columns from wide on are shown with -o wide only;
// 0 means all are shown always.
type table struct {
	head []string
	rows [][]string
	wide int
}

// result is what a command found or did: a value for programs, a table and notes
// for people, and the exit code.
type result struct {
	value any
	table table
	notes []string // printed after the table, for people only
	// once is a value that is shown this once: with -q it is all that is printed,
	// because nothing would lose it.
	once string
	exit int
	// forms are outputs of this command alone, such as sarif.
	forms map[string]func() ([]byte, error)
}

// red is the ANSI colour of failures; it only ever stands beside a word that says
// the same.
const red = "31"

func (a *app) paint(color, text string) string {
	if !a.Color || a.noColor || a.getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (a *app) format(more ...string) (string, error) {
	f := first(a.output, a.getenv("MINTMARK_OUTPUT"), "table")
	known := append([]string{"table", "wide", "json", "yaml"}, more...)
	if slices.Contains(known, f) {
		return f, nil
	}
	last := len(known) - 1
	return "", usage("unknown output "+quote(f), "want "+strings.Join(known[:last], ", ")+" or "+known[last])
}

// print writes r in the chosen form; the error is r's exit code when not 0.
func (a *app) print(r result) error {
	f, err := a.format(slices.Sorted(maps.Keys(r.forms))...)
	if err != nil {
		return err
	}
	if a.quiet && r.exit == 0 {
		if r.once != "" {
			fmt.Fprintln(a.Stdout, r.once)
		}
	} else {
		switch f {
		case "json":
			err = printJSON(a.Stdout, r.value)
		case "yaml":
			err = printYAML(a.Stdout, r.value)
		default:
			if form := r.forms[f]; form != nil {
				var b []byte
				if b, err = form(); err == nil {
					err = a.raw(b)
				}
				break
			}
			err = printTable(a.Stdout, r.table, f == "wide")
			for _, n := range r.notes {
				fmt.Fprintln(a.Stdout, n)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	if r.exit != 0 {
		return exitCode(r.exit)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printYAML goes by way of JSON, so that both show the same members in the same
// order: JSON is read as YAML and written in block style.
func printYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return err
	}
	block(&n)
	out, err := yaml.Dump(&n)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}

func printTable(w io.Writer, t table, wide bool) error {
	if len(t.head) == 0 {
		return nil
	}
	n := len(t.head)
	if !wide && t.wide > 0 {
		n = t.wide
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.head[:n], "\t"))
	for _, r := range t.rows {
		cells := make([]string, n)
		for i := range cells {
			cells[i] = plainCell(r[i])
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return tw.Flush()
}

// plainCell keeps what others chose from steering a terminal.
func plainCell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s
}

// pairs is a table of names and values, for one thing in detail.
func pairs(kv ...string) table {
	t := table{head: []string{"FIELD", "VALUE"}}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			t.rows = append(t.rows, []string{kv[i], kv[i+1]})
		}
	}
	return t
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func atUnix(sec int64) string {
	if sec == 0 {
		return ""
	}
	return at(time.Unix(sec, 0))
}

func atMilli(ms int64) string {
	if ms == 0 {
		return ""
	}
	return at(time.UnixMilli(ms))
}

func num[T ~int | ~int64 | ~uint64](n T) string { return fmt.Sprint(n) }

// many counts things: 1 token, 2 tokens.
func many[T ~int | ~int64 | ~uint64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n) + " " + thing + "s"
}

// show wraps a list or a value that needs nothing more.
func show(v any, t table, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	return result{value: v, table: t, exit: api.ExitOK}, nil
}
