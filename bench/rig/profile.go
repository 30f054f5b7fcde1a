package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// profile records where a peer's processor time goes, kernel included, until what it
// returns is called with how many requests there were; that number becomes part of
// the file's name, so that samples can be told per request.
func (w *world) profile(p *peer) (stop func(requests int), err error) {
	if w.o.perf == "" || len(p.procs) == 0 {
		return func(int) {}, nil
	}
	var pids []string
	for _, c := range p.procs {
		for _, pid := range c.members() {
			pids = append(pids, strconv.Itoa(pid))
		}
	}
	name := filepath.Join(w.o.perf, fmt.Sprintf("%s.%d", strings.NewReplacer(" ", "-", ",", "").Replace(p.name), len(p.turns)))
	cmd := exec.Command("taskset", "-c", w.o.others, "perf", "record", "-q", "-F", "1999", "-g", "-p", strings.Join(pids, ","), "-o", name)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("perf record: %w", err)
	}
	return func(n int) {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		os.Rename(name, fmt.Sprintf("%s.%d.perf", name, n))
	}, nil
}
