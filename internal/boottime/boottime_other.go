//go:build !linux

// Package boottime answers how much time has passed, suspend included and wall
// clock not: what leases are counted on.
package boottime

import "time"

var start = time.Now()

// Now returns the time since the program started. On this system it stands still
// while the machine sleeps: run gateways that may be suspended on Linux.
func Now() time.Duration { return time.Since(start) }
