// Command mintmark is the whole product: every process and every tool.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/mintmark/mintmark/internal/cli"
)

func main() { os.Exit(run()) }

// run owns the root context: the first signal asks everything to stop, a second
// one ends the process as it would any other.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, cli.Config{
		Args:     os.Args[1:],
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Environ:  os.Environ(),
		Runner:   runner(),
		Version:  version(),
		Terminal: terminal(os.Stdin) && terminal(os.Stderr),
		Color:    terminal(os.Stdout),
	})
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// version is the module's version as it was built, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
