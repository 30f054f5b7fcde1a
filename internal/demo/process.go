package demo

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is one real process of the product, started from its binary. Its output
// goes to a file beside its data.
type Process struct {
	Name   string
	Args   []string
	Ready  string // URL that answers 200 once it is ready
	Binary string
	Log    string // file

	mu   sync.Mutex
	cmd  *exec.Cmd     // guarded by mu; nil while down
	gone chan struct{} // guarded by mu; closed when cmd has ended
}

// Start starts the process and waits until it is ready, or says what it said last.
func (p *Process) Start(ctx context.Context) error {
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.Binary, p.Args...)
	cmd.Stdout, cmd.Stderr = out, out
	// A process group of its own: the terminal's Ctrl-C is the demo's to handle;
	// and nobody outlives the demo, also when that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	gone := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.gone = cmd, gone
	p.mu.Unlock()
	go func() { // ends with the process
		_ = cmd.Wait()
		close(gone)
	}()
	return p.waitReady(ctx, gone)
}

func (p *Process) waitReady(ctx context.Context, gone <-chan struct{}) error {
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ready, nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-gone:
			return fmt.Errorf("%s ended before it was ready; it said:\n%s", p.Name, p.Tail(2000))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; it said:\n%s", p.Name, ctx.Err(), p.Tail(2000))
		case <-tick.C:
		}
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 5*time.Second) }

// Stop asks the process to end and kills it when it has not after ten seconds.
func (p *Process) Stop() { p.end(syscall.SIGTERM, 10*time.Second) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-gone:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-gone
	}
}

// PID is the process's id, 0 while it is down.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Tail returns the last n bytes of what the process said.
func (p *Process) Tail(n int64) string {
	f, err := os.Open(p.Log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > n {
		_, _ = f.Seek(-n, 2)
	}
	b := make([]byte, n)
	m, err := f.Read(b)
	if err != nil && m == 0 {
		return "(nothing)"
	}
	return string(b[:m])
}

// writeFile writes a private file, making its directory.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
