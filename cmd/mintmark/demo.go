package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/demo"
)

// playDemo plays the demo with processes of this very binary.
func playDemo(ctx context.Context, o cli.DemoOptions) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	in, _ := o.Stdin.(*os.File)
	if in == nil {
		in = os.Stdin
	}
	return demo.Run(ctx, demo.Options{
		Dir: o.Dir, Script: o.Script, Fault: o.Fault, ByHand: o.ByHand, Clients: o.Clients, Percent: o.Percent,
		After: o.After, Seed: o.Seed, Binary: binary, JSON: o.JSON, Color: o.Color, In: in, Out: o.Stdout,
	})
}
