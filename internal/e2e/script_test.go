package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// TestScripts types what an operator types, and checks what the program prints
// and its exit codes. Beside testscript's own commands the scripts have:
//
//	mm CODE ARG…          run mintmark, which must exit with CODE
//	serve FILE            run mintmark serve -f FILE until the script's end or halt
//	halt                  stop it, in order
//	get NAME PATH         set a variable from the JSON just printed: a.b.0.c
//	ask STATUS CODE TOKEN call the gateway; CODE is the refusal's, - for none
//	sql FILE STATEMENT    change a database behind the program's back
//	scribble FILE TEXT    overwrite a file's beginning
//	documented            the metrics just printed are in docs/observability.md
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			bin := filepath.Join(e.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o700); err != nil {
				return err
			}
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			docs, err := filepath.Abs(filepath.Join("..", "..", "docs", "observability.md"))
			if err != nil {
				return err
			}
			e.Setenv("DOCS", docs)
			e.Setenv("HOME", filepath.Join(e.WorkDir, ".home"))
			ports := freePorts(t, 5)
			var config strings.Builder
			fmt.Fprintf(&config, "data: data\nissuer: http://127.0.0.1:%d\nlisten:\n", ports[0])
			for i, name := range []string{"authority", "admin", "metrics", "gateway"} {
				fmt.Fprintf(&config, "  %s: {address: \"127.0.0.1:%d\"}\n", name, ports[i])
				e.Setenv(strings.ToUpper(name), fmt.Sprintf("127.0.0.1:%d", ports[i]))
			}
			return errors.Join(os.Symlink(binary, filepath.Join(bin, "mintmark")),
				os.WriteFile(filepath.Join(e.WorkDir, "mintmark.yaml"), []byte(config.String()), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"documented": scriptDocumented, "mm": scriptRun, "serve": scriptServe, "halt": scriptHalt, "get": scriptGet, "ask": scriptAsk, "sql": scriptSQL, "scribble": scriptScribble,
		},
	})
}

func scriptRun(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec("mintmark", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("mintmark %s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("mintmark %s: exit %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

// served are the processes of scripts, which run at the same time: *exec.Cmd by
// working directory.
var served sync.Map

func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	out, err := os.OpenFile(ts.MkAbs("serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer out.Close()
	cmd := exec.Command(binary, append([]string{"serve"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), out, out
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	ts.Check(cmd.Start())
	served.Store(ts.MkAbs("."), cmd)
	ts.Defer(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + ts.Getenv("METRICS") + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not ready: %s", ts.ReadFile("serve.log"))
		}
	}
}

func scriptHalt(ts *testscript.TestScript, _ bool, _ []string) {
	at, _ := served.Load(ts.MkAbs("."))
	cmd := at.(*exec.Cmd)
	ts.Check(cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("serve did not end in order: %v\n%s", err, ts.ReadFile("serve.log"))
	}
}

func scriptGet(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for name := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				ts.Fatalf("no %s in a list of %d", name, len(at))
			}
			v = at[i]
		}
	}
	if v == nil {
		ts.Fatalf("no %s in what was printed", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func scriptAsk(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.NewRequest(http.MethodGet, "http://"+ts.Getenv("GATEWAY")+"/orders/1", nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+args[2])
	res, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &p)
	if strconv.Itoa(res.StatusCode) != args[0] || (args[1] != "-" && p.Code != args[1]) {
		ts.Fatalf("the gateway answered %s: %s", res.Status, body)
	}
}

func scriptSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

func scriptScribble(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte(args[1]), 0)
	ts.Check(errors.Join(err, f.Close()))
}

func scriptDocumented(ts *testscript.TestScript, _ bool, _ []string) {
	page := ts.Getenv("DOCS")
	known, err := os.ReadFile(page)
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		name, ok := strings.CutPrefix(line, "# HELP mintmark_")
		if !ok {
			continue
		}
		n++
		name, _, _ = strings.Cut(name, " ")
		if !strings.Contains(string(known), "`mintmark_"+name+"`") && !strings.Contains(string(known), "`mintmark_"+name+"{") {
			ts.Fatalf("%s does not name mintmark_%s", page, name)
		}
	}
	if n < 30 {
		ts.Fatalf("only %d metrics were printed", n)
	}
}
