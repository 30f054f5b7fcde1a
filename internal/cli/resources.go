package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/policy"
)

// maxResources bounds what one apply sends, in bytes.
const maxResources = 16 << 20

// resourceFiles reads the files named; a directory stands for its *.yaml and
// *.yml files, and - for standard input.
func (a *app) resourceFiles(names []string) ([]api.File, error) {
	if len(names) == 0 {
		return nil, usage("no file was named", "give -f FILE, -f DIRECTORY or -f -")
	}
	var paths []string
	for _, n := range names {
		info, err := os.Stat(n)
		if n == "-" || (err == nil && !info.IsDir()) {
			paths = append(paths, n)
			continue
		}
		if err != nil {
			return nil, usage(err.Error(), "")
		}
		err = filepath.WalkDir(n, func(p string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(p); err == nil && d.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") {
				paths = append(paths, p)
			}
			return err
		})
		if err != nil {
			return nil, usage(err.Error(), "")
		}
	}
	sort.Strings(paths)
	left := int64(maxResources)
	files := make([]api.File, 0, len(paths))
	for _, p := range paths {
		b, err := a.readInput(p, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(b))
		files = append(files, api.File{Name: p, Text: string(b)})
	}
	if len(files) == 0 {
		return nil, usage("no *.yaml file in "+strings.Join(names, ", "), "")
	}
	return files, nil
}

// problemOf turns what is wrong with resources into the problem that control
// would answer.
func problemOf(errs policy.Errors) error {
	p := api.Errorf(api.CodeInvalidFile, "%s; nothing was changed", many(len(errs), "mistake"))
	for _, e := range errs {
		p.Errors = append(p.Errors, api.FieldError{Location: e.Location(), Message: e.What(), Fix: e.Fix})
	}
	return p
}

func policyFiles(files []api.File) []policy.File {
	out := make([]policy.File, len(files))
	for i, f := range files {
		out[i] = policy.File{Name: f.Name, Text: f.Text}
	}
	return out
}

func (a *app) applyCmd() *cobra.Command {
	var q api.ApplyRequest
	var w waiting
	var names []string
	return a.call(call{
		use: "apply -f FILE", short: "Apply services, routes, releases, policies, issuers, clients and users: all or nothing", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			cmd.Flags().StringSliceVarP(&names, "file", "f", nil, "file, directory, or - for standard input")
			cmd.Flags().BoolVar(&q.Prune, "prune", false, "remove what the files do not name")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			files, err := a.resourceFiles(names)
			if err != nil {
				return result{}, err
			}
			// References may lead to what control has; the form can be checked here.
			if _, errs := policy.Parse(policyFiles(files)); len(errs) > 0 {
				return result{}, problemOf(errs)
			}
			q.Files, q.DryRun, q.Reason, q.Wait, q.Timeout = files, w.dryRun, w.reason, w.wait, a.bound()
			var answer *api.ApplyAnswer
			err = a.confirm(func(text string) (err error) {
				q.Confirm = text
				answer, err = c.Apply(ctx, q)
				return err
			})
			if err != nil {
				return result{}, err
			}
			return applied(answer), nil
		},
	})
}

func (a *app) diffCmd() *cobra.Command {
	var q api.ApplyRequest
	var names []string
	return a.call(call{
		use: "diff -f FILE", short: "Show what apply would change", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVarP(&names, "file", "f", nil, "file, directory, or - for standard input")
			cmd.Flags().BoolVar(&q.Prune, "prune", false, "as if --prune were given to apply")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (r result, err error) {
			if q.Files, err = a.resourceFiles(names); err != nil {
				return result{}, err
			}
			q.DryRun = true
			answer, err := c.Diff(ctx, q)
			if err != nil {
				return result{}, err
			}
			return applied(answer), nil
		},
	})
}

func applied(x *api.ApplyAnswer) result {
	t := table{head: []string{"CHANGE", "RESOURCE", "FIELD", "OLD", "NEW"}}
	count := 0
	for _, c := range x.Changes {
		if c.Verb == "none" {
			continue
		}
		count++
		if len(c.Fields) == 0 {
			t.rows = append(t.rows, []string{c.Verb, c.Kind + "/" + c.Name, "", "", ""})
		}
		for _, f := range c.Fields {
			t.rows = append(t.rows, []string{c.Verb, c.Kind + "/" + c.Name, f.Path, clip(f.Old), clip(f.New)})
		}
	}
	r := withReceipt(x, x.Receipt)
	var notes []string
	switch {
	case count == 0:
		notes = []string{"nothing to change"}
	case x.DryRun:
		notes = []string{"", fmt.Sprintf("dry run: %s would change; nothing was changed", many(count, "resource"))}
	default:
		notes = []string{"", fmt.Sprintf("%s changed, epoch %d", many(count, "resource"), x.Epoch)}
	}
	for _, w := range x.Warnings {
		notes = append(notes, "warning: "+w)
	}
	ids := make([]string, 0, len(x.Secrets))
	for id := range x.Secrets {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		notes = append(notes, "secret of client "+id+", shown once and kept nowhere: "+x.Secrets[id])
	}
	if count > 0 {
		r.table = t
	}
	r.notes = append(notes, r.notes...)
	return r
}

func clip(b json.RawMessage) string {
	if len(b) > 60 {
		return string(b[:57]) + "…"
	}
	return string(b)
}

func (a *app) exportCmd() *cobra.Command {
	return a.call(call{
		use: "export", short: "Print all resources as YAML, ready for apply", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			x, err := c.Export(ctx)
			if err != nil {
				return result{}, err
			}
			return result{value: x, notes: []string{strings.TrimSuffix(x.YAML, "\n")}}, nil
		},
	})
}

// raw prints text that already has its form.
func (a *app) raw(b []byte) error {
	if _, err := a.Stdout.Write(b); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (a *app) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use: "schema [KIND|config]", Short: "Print the JSON Schema of a kind of resource, of all, or of mintmark.yaml", Args: cobra.MaximumNArgs(1),
		ValidArgs: append(policy.Kinds(), "config"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "config" {
				b, err := config.Schema()
				if err != nil {
					return err
				}
				return a.raw(b)
			}
			s, err := policy.Schemas()
			if len(args) == 1 {
				s, err = policy.Schema(args[0])
			}
			if err != nil {
				return usage(err.Error(), "")
			}
			return printJSON(a.Stdout, s)
		},
	}
}

func (a *app) fmtCmd() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use: "fmt FILE…", Short: "Print resource files in their one form; -w writes them back", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := a.resourceFiles(args)
			if err != nil {
				return err
			}
			for _, f := range files {
				text, errs := policy.Format(policy.File{Name: f.Name, Text: f.Text})
				if len(errs) > 0 {
					return problemOf(errs)
				}
				if !write || f.Name == "-" {
					if err := a.raw([]byte(text)); err != nil {
						return err
					}
					continue
				}
				if text == f.Text {
					continue
				}
				info, err := os.Stat(f.Name)
				if err == nil {
					err = os.WriteFile(f.Name, []byte(text), info.Mode().Perm())
				}
				if err != nil {
					return fmt.Errorf("write back: %w", err)
				}
				fmt.Fprintln(a.Stdout, f.Name)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files back and list those changed")
	return cmd
}

func (a *app) configCmd() *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Check mintmark.yaml and the environment, and show the outcome", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := first(a.config, a.getenv("MINTMARK_CONFIG"))
			if len(args) == 1 {
				name = args[0]
			}
			c, err := config.Load(name, a.Environ)
			if err != nil {
				return err
			}
			if f, err := a.format(); err != nil || f == "json" {
				return a.print(result{value: c})
			}
			return printYAML(a.Stdout, c)
		},
	}
	return noun("config", "How processes run: mintmark.yaml", check)
}
