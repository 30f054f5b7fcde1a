// Command mintmark is the whole product in one binary: the control plane, the
// gateway, the command line and the demo.
//
// This package is the wiring: the only place that knows every engine. main hands
// the command line to internal/cli; each process command is one function here
// that opens what it needs, runs it, and returns when its context ends.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // freeze windows name time zones, also where the machine has none

	"golang.org/x/term"

	"github.com/mintmark/mintmark/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second Ctrl-C ends a process that hangs while it stops.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, cli.Config{
		Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		Color:    term.IsTerminal(int(os.Stdout.Fd())),
		Version:  version(),
		Runner: cli.Runner{
			Init: initialize, Serve: serveProcess, Control: controlProcess, Gateway: gatewayProcess,
			Demo: playDemo, Verify: verify, Inspect: inspect,
		},
	}))
}

// release is set at link time by make build.
var release string

// version is the release, else what the Go tool recorded of the checkout.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}
