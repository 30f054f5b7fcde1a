package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/loopback"
)

// process is a child with its log, pinned to cores.
type process struct {
	cmd *exec.Cmd
	log string
}

// start runs a command on the given cores.
func (w *world) start(name, cores string, env []string, args ...string) (*process, error) {
	file := filepath.Join(w.o.dir, name+".log")
	log, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("taskset", append([]string{"-c", cores}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	// A group of its own, so that workers are counted and ended with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: file}
	w.procs = append(w.procs, p)
	return p, nil
}

func (p *process) stop() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	done := make(chan struct{})
	go func() { p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
}

// members are the processes of p's group.
func (p *process) members() []int {
	var out []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, d := range dirs {
		f := stat(d)
		if len(f) < 13 || f[2] != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(d))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// stat returns the fields of a stat file after the command's name: state, parent,
// group … (proc(5)).
func stat(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	s := string(b)
	return strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
}

// cpu is the time on a processor since the start, of the whole group.
func (p *process) cpu() time.Duration {
	var ticks int64
	for _, pid := range p.members() {
		if f := stat(fmt.Sprintf("/proc/%d/stat", pid)); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			ticks += user + system
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs Go
}

// rss is the resident memory of the whole group in MiB.
func (p *process) rss() float64 {
	var kib float64
	for _, pid := range p.members() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, ok := strings.Cut(string(b), "VmRSS:"); ok {
			var n float64
			fmt.Sscan(rest, &n)
			kib += n
		}
	}
	return kib / 1024
}

// reachable waits until something listens on addr.
func reachable(ctx context.Context, addr string, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s never listened: %w\n%s", addr, err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePorts sets ports aside until the benchmark ends.
func freePorts(n int) ([]int, error) {
	p, err := loopback.Reserve(n)
	if err != nil {
		return nil, err
	}
	return p.Numbers, nil
}
