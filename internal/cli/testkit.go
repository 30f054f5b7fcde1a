package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/testkit"
)

func (a *app) testkitCmd() *cobra.Command {
	return noun("testkit", "Test how a service treats tokens, with an issuer whose clock you move", a.testkitRun(), a.testkitInit(), a.testkitSchema())
}

func (a *app) testkitRun() *cobra.Command {
	var o testkit.Options
	var names []string
	var pack, only string
	cmd := &cobra.Command{
		Use: "run {-f FILE | --pack NAME} {--exec CMD | --service URL}", Short: "Play scenarios against a service", Args: cobra.NoArgs,
		Long: `Play scenarios against a service in any language. They mint good and broken
tokens, let time pass without waiting, revoke, rotate keys, roll releases out and
back, and say what the service must answer.

With --exec each scenario gets an issuer and a process of the service of its own:
CMD is run by sh and must listen on 127.0.0.1:$PORT. MINTMARK_ISSUER,
MINTMARK_JWKS_URI, MINTMARK_INTROSPECTION_URI, MINTMARK_AUDIENCE,
MINTMARK_CLIENT_ID and MINTMARK_CLIENT_SECRET tell it where its tokens come from.
With --service one issuer, at --listen, is there for all scenarios, one after the
other, and the service must have been told of it.

Exit 0 when every scenario passed, 1 when one failed or the service did not start,
2 for an invalid file. -o junit writes what CI systems read.`,
		Example: "  mintmark testkit init > scenarios.yaml\n  mintmark testkit run -f scenarios.yaml --exec 'node server.mjs'\n  mintmark testkit run --pack rfc8725 --exec ./service -o junit > testkit.xml\n  mintmark testkit run -f scenarios/ --service http://127.0.0.1:8080 --listen 127.0.0.1:9400",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := a.format("junit"); err != nil {
				return err
			}
			scenarios, err := a.scenarios(names, pack)
			if err != nil {
				return err
			}
			if only != "" {
				scenarios = slices.DeleteFunc(scenarios, func(s *testkit.Scenario) bool { return s.Name != only })
				if len(scenarios) == 0 {
					return usage("no scenario is named "+quote(only), "")
				}
			}
			results, err := testkit.Run(cmd.Context(), scenarios, o)
			if errors.Is(err, testkit.ErrConfig) {
				return usage(err.Error(), "see mintmark testkit run --help")
			}
			if err != nil {
				return err
			}
			return a.print(played(results))
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&names, "file", "f", nil, "scenarios: file, directory, or - for standard input")
	f.StringVar(&pack, "pack", "", "scenarios that come with the program: "+strings.Join(testkit.Packs(), ", "))
	f.StringVar(&only, "only", "", "play the scenario of this name alone")
	f.StringVar(&o.Exec, "exec", "", "command that starts the service on $PORT")
	f.StringVar(&o.Service, "service", "", "URL of a service that runs already")
	f.StringVar(&o.Listen, "listen", "", "address of the issuer, with --service (default: any free port)")
	f.StringVar(&o.Audience, "audience", testkit.DefaultAudience, "aud of good tokens")
	f.IntVar(&o.Parallel, "parallel", 1, "scenarios played at once, with --exec")
	f.DurationVar(&o.Start, "start-timeout", 0, "how long the service may take to listen, with --exec (default 30s)")
	f.BoolVar(&o.ShowTokens, "show-tokens", false, "print tokens in the curl lines")
	return cmd
}

// scenarios reads what is to be played. Nothing is started when a file has a
// mistake.
func (a *app) scenarios(names []string, pack string) ([]*testkit.Scenario, error) {
	if (len(names) == 0) == (pack == "") {
		return nil, usage("what is to be played?", "give either -f FILE or --pack NAME; mintmark testkit init writes a first file")
	}
	if pack != "" {
		text, ok := testkit.Pack(pack)
		if !ok {
			return nil, usage("no pack is named "+quote(pack), "packs: "+strings.Join(testkit.Packs(), ", "))
		}
		return testkit.Parse(pack+".yaml", text)
	}
	files, err := a.resourceFiles(names)
	if err != nil {
		return nil, err
	}
	var out []*testkit.Scenario
	for _, f := range files {
		all, err := testkit.Parse(f.Name, f.Text)
		var errs policy.Errors
		if errors.As(err, &errs) {
			return nil, pointed(problemOf(errs), f.Text, errs)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	if len(out) == 0 {
		return nil, usage("there is no scenario in "+strings.Join(names, ", "), "mintmark testkit init writes a first one")
	}
	return out, nil
}

// played shows every step of scenarios that failed, and one row of the others.
func played(results []testkit.Result) result {
	r := result{value: map[string]any{"scenarios": results}, forms: map[string]func() ([]byte, error){
		"junit": func() ([]byte, error) { return testkitJUnit(results) },
	}}
	r.table.head = []string{"RESULT", "SCENARIO", "STEP", "GOT"}
	failed := 0
	for _, s := range results {
		if s.Passed {
			r.table.rows = append(r.table.rows, []string{"pass", s.Scenario, many(len(s.Steps), "step"), ""})
			continue
		}
		failed++
		for _, st := range s.Steps {
			word := "ok"
			if !st.Passed {
				word = "FAIL"
				r.notes = append(r.notes, told(s, st)...)
			}
			r.table.rows = append(r.table.rows, []string{word, s.Scenario, st.Step, st.Got})
		}
	}
	r.notes = append(r.notes, fmt.Sprintf("%s, %d failed", many(len(results), "scenario"), failed))
	if failed > 0 {
		r.exit = api.ExitFailed
	}
	return r
}

// told is a step that failed, in lines for people.
func told(s testkit.Result, st testkit.StepResult) []string {
	out := []string{"", fmt.Sprintf("%s:%d: %s: %s", s.File, st.Line, s.Scenario, st.Step)}
	for _, w := range st.Wrong {
		out = append(out, "  "+w.What+": want "+w.Want+", got "+w.Got)
	}
	if len(st.Wrong) == 0 {
		out = append(out, "  "+st.Got)
	}
	if st.Curl != "" {
		out = append(out, "  "+st.Curl)
	}
	return out
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     float64     `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Time    float64       `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// testkitJUnit writes the results as the XML that CI systems read.
func testkitJUnit(results []testkit.Result) ([]byte, error) {
	suite := junitSuite{Name: "mintmark testkit", Tests: len(results)}
	for _, s := range results {
		c := junitCase{Name: s.Scenario, Class: "testkit", File: s.File, Time: s.Seconds}
		suite.Time += s.Seconds
		if !s.Passed {
			suite.Failures++
			c.Failure = &junitFailure{}
			for _, st := range s.Steps {
				if st.Passed {
					continue
				}
				if c.Failure.Message == "" {
					c.Failure.Message = fmt.Sprintf("line %d: %s", st.Line, st.Step)
				}
				c.Failure.Text += strings.Join(told(s, st), "\n") + "\n"
			}
		}
		suite.Cases = append(suite.Cases, c)
	}
	b, err := xml.MarshalIndent(suite, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

func (a *app) testkitInit() *cobra.Command {
	return &cobra.Command{
		Use: "init [FILE]", Short: "Write commented scenarios to begin with", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.raw([]byte(testkit.Example))
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return usage(err.Error(), "name a file that does not exist yet")
			}
			if _, err := f.WriteString(testkit.Example); err != nil {
				return errors.Join(err, f.Close())
			}
			return f.Close()
		},
	}
}

func (a *app) testkitSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of scenarios, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := testkit.Schema()
			if err != nil {
				return err
			}
			return a.raw(append(b, '\n'))
		},
	}
}
