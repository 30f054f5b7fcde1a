package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
)

// Options are the demo's flags.
type Options struct {
	Dir     string // "" for a temporary directory, removed at the end
	Script  bool
	Fault   string // how the candidate misbehaves: one of Faults
	ByHand  bool   // a person takes the candidate back
	Clients int
	Percent string
	After   time.Duration
	Seed    uint64
	Binary  string
	// JSON prints the result as one JSON object and nothing else.
	JSON bool
	// Color allows escape sequences; In and Out are the terminal.
	Color bool
	In    *os.File
	Out   io.Writer
}

// Check refuses what can't be played.
func (o *Options) Check() error {
	if err := checkFault(o.Fault); err != nil {
		return err
	}
	if o.ByHand && fault(o.Fault) == healthy {
		return errors.New("--by-hand takes the candidate back: it does not go with --fault none")
	}
	if o.Clients < 30 || o.Clients > 5000 {
		return fmt.Errorf("--clients %d: want 30 to 5000", o.Clients)
	}
	return nil
}

// Run plays the demo and returns nil only if the guarantees held.
func Run(ctx context.Context, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	dir, cleanup, err := o.directory()
	if err != nil {
		return err
	}
	defer cleanup()
	say := newNarrator(o.Out, o.Color)
	say.quiet = o.JSON
	people := min(o.Clients/5, 60)
	keys := o.Clients / 10
	w, err := NewWorld(WorldConfig{
		Dir: dir, Binary: o.Binary, Gateways: 3, People: people, APIKeys: keys, Machines: o.Clients - people - keys,
		Pause: 400 * time.Millisecond, Seed: o.Seed, Say: say.step,
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() { stop(); w.Close() }()
	if !o.JSON {
		say.heading(fmt.Sprintf("Mintmark demo: one control plane, three gateways, %d clients, two releases of a service. Data in %s", o.Clients, dir))
	}
	w.Serve(ctx)
	start, cancel := context.WithTimeout(ctx, 90*time.Second)
	err = w.Start(start)
	cancel()
	if err != nil {
		return err
	}
	story := &Story{World: w, ByHand: o.ByHand}
	w.RunCrowd(ctx)
	if !o.Script {
		return view(ctx, story, say, o)
	}
	err = story.Play(ctx, Script{Fault: fault(o.Fault), Percent: o.Percent, After: o.After})
	stop()
	w.Close()
	if err == nil {
		verify, cancel := context.WithTimeout(context.WithoutCancel(ctx), 60*time.Second)
		err = story.Verify(verify)
		cancel()
	}
	if o.JSON {
		return errors.Join(err, printJSON(o.Out, story, err))
	}
	say.report(story, err)
	return err
}

// printJSON prints what the script showed, for programs.
func printJSON(out io.Writer, s *Story, failed error) error {
	score, told := s.World.Crowd.Score, s.Told()
	result := struct {
		OK              bool              `json:"ok"`
		Error           string            `json:"error,omitempty"`
		Fault           string            `json:"fault"`
		NoticedNS       time.Duration     `json:"noticed_ns"`
		RollbackNS      time.Duration     `json:"rollback_ns"`
		Receipt         *mintmark.Receipt `json:"receipt"`
		Requests        int64             `json:"requests"`
		Harmful         int64             `json:"harmful_issued"`
		HarmfulTried    int64             `json:"harmful_presented_after"`
		HarmfulAccepted int64             `json:"harmful_accepted_after"`
		CandidateAfter  int64             `json:"candidate_served_after"`
		HarmlessRefused int64             `json:"harmless_refused"`
		Unknown         int64             `json:"unknown_503"`
		Violations      []string          `json:"violations"`
	}{
		OK: failed == nil, Fault: string(told.Fault), NoticedNS: told.Noticed, RollbackNS: told.Took, Receipt: told.Receipt,
		Requests: score.Requests.Load(), Harmful: score.Harmful.Load(), HarmfulTried: score.HarmfulTried.Load(),
		HarmfulAccepted: score.HarmfulAccepted.Load(), CandidateAfter: score.CandidateAfter.Load(),
		HarmlessRefused: score.Harmless401.Load(), Unknown: score.Unknown.Load(), Violations: score.Violations(),
	}
	if failed != nil {
		result.Error = failed.Error()
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(result)
}

func (o *Options) directory() (string, func(), error) {
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return "", nil, fmt.Errorf("--dir: %w", err)
		}
		if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) > 0 {
			return "", nil, errors.Join(err, fmt.Errorf("--dir %s is not empty: give a new directory", o.Dir))
		}
		return o.Dir, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "mintmark-demo-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// narrator prints what happens, for people. Safe for concurrent use.
type narrator struct {
	mu    sync.Mutex
	out   io.Writer // guarded by mu
	color bool
	begun time.Time
	lines []string // guarded by mu; the last few, for the view
	quiet bool     // guarded by mu; the view draws instead
}

func newNarrator(out io.Writer, color bool) *narrator {
	return &narrator{out: out, color: color, begun: time.Now()}
}

func (n *narrator) paint(code, text string) string {
	if !n.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (n *narrator) heading(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out, n.paint("1", text))
}

func (n *narrator) step(what, command string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := fmt.Sprintf("%6.1fs  %s", time.Since(n.begun).Seconds(), what)
	n.lines = append(n.lines, line)
	if command != "" {
		n.lines = append(n.lines, "         $ "+command)
	}
	if n.quiet {
		return
	}
	fmt.Fprintln(n.out, line)
	if command != "" {
		fmt.Fprintln(n.out, n.paint("36", "         $ "+command))
	}
}

// hush lets the view draw instead of the narrator, or ends that.
func (n *narrator) hush(quiet bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.quiet = quiet
}

// last returns the last few lines said.
func (n *narrator) last(k int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.lines[max(0, len(n.lines)-k):]...)
}

// report ends the script: the receipt, the clients' account, the verdict.
func (n *narrator) report(s *Story, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	score := s.World.Crowd.Score
	told := s.Told()
	if told.Receipt != nil {
		n.receipt(told.Receipt)
	}
	fmt.Fprintln(n.out, n.paint("1", "\nThe clients' own account"))
	for _, row := range []struct {
		what string
		n    int64
	}{
		{"requests", score.Requests.Load()},
		{"answered by the service", score.OK.Load()},
		{"tokens obtained", score.Issued.Load()},
		{"tokens renewed", score.Refreshed.Load()},
		{"harmful tokens handed out", score.Harmful.Load()},
		{"harmful tokens presented after the rollback returned", score.HarmfulTried.Load()},
		{"harmful tokens accepted after the rollback returned", score.HarmfulAccepted.Load()},
		{"requests that met orders/v2 after the rollback returned", score.CandidateAfter.Load()},
		{"harmless tokens refused", score.Harmless401.Load()},
		{"open streams of harmful tokens cut", score.StreamsCut.Load()},
		{"told to come back (503)", score.Unknown.Load()},
		{"errors of the service", score.Upstream.Load()},
		{"gateway not reachable", score.Unreachable.Load()},
		{"authority gave no token", score.MintFailed.Load()},
	} {
		fmt.Fprintf(n.out, "%10d  %s\n", row.n, row.what)
	}
	for _, v := range score.Violations() {
		fmt.Fprintln(n.out, n.paint("31", "            "+v))
	}
	if told.Noticed > 0 {
		fmt.Fprintln(n.out)
		for _, l := range []struct {
			what string
			took time.Duration
		}{{"time to notice: from the fault to the decision", told.Noticed}, {"from the commit until every gateway had applied it", told.Took}} {
			fmt.Fprintf(n.out, "%10s  %s\n", l.took.Round(100*time.Microsecond), l.what)
		}
	}
	if err != nil {
		fmt.Fprintln(n.out, n.paint("31;1", "\nFAILED: ")+err.Error())
		return
	}
	fmt.Fprintln(n.out, n.paint("32;1", "\nThe guarantees held."))
}

// receipt prints what a person wants to know of a receipt; all of it is the
// command's that it names. mu is held.
func (n *narrator) receipt(r *mintmark.Receipt) {
	fmt.Fprintln(n.out, n.paint("1", "\nReceipt "+string(r.ID)))
	for _, l := range receiptLines(r) {
		fmt.Fprintln(n.out, "  "+l)
	}
	fmt.Fprintln(n.out, n.paint("36", "  $ mintmark receipt get "+string(r.ID)+" -o json | mintmark receipt verify -"))
}

// receiptLines is a receipt in few lines.
func receiptLines(r *mintmark.Receipt) []string {
	out := []string{fmt.Sprintf("%s of %s by %s: %s after %s", r.Kind, r.Release, r.Actor, r.Outcome, r.Elapsed.Round(100*time.Microsecond))}
	if r.Reason != "" {
		out = append(out, "reason: "+r.Reason)
	}
	for _, g := range r.Gateways {
		out = append(out, fmt.Sprintf("%-6s %-16s after %-8s streams cut %d", g.Gateway, g.Reach, g.Applied.Round(100*time.Microsecond), g.StreamsCut))
	}
	for _, d := range r.Dispositions {
		out = append(out, fmt.Sprintf("%s %-15s %-8s %d live tokens", d.Release, d.Class, d.Disposition, d.Tokens))
	}
	return append(out, fmt.Sprintf("row %d of the state log, hash %.16s…, signed by key %s", r.Seq, r.RowHash, r.KeyID))
}
