package main

import "github.com/mintmark/mintmark/internal/cli"

// runner names the processes of this program.
func runner() cli.Runner { return cli.Runner{} }
