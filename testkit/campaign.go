package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/loopback"
)

// Options say against what scenarios are played. One of Service and Exec is given.
type Options struct {
	// Service is the base URL of a service that runs already. All scenarios are played
	// against it one after the other, with one issuer, which listens on Listen so that
	// the service can be told of it beforehand.
	Service string
	Listen  string
	// Exec is a command for sh that starts the service on $PORT of 127.0.0.1 with the
	// variables of Issuer.Env. Each scenario gets a process and an issuer of its own,
	// and Parallel of them (0: one) run at once.
	Exec     string
	Parallel int
	// Start bounds how long a started service may take to answer; 0 is 30 s.
	Start time.Duration
	// Audience of good tokens; empty is DefaultAudience.
	Audience string
	// ShowTokens puts tokens into the results as they are.
	ShowTokens bool
}

// ErrService: the service could not be started or reached.
var ErrService = errors.New("testkit: no service")

// Run plays scenarios and returns how they went, in their order. The error is of
// what kept it from playing at all; a scenario that fails is no error.
func Run(ctx context.Context, scenarios []*Scenario, o Options) ([]Result, error) {
	if (o.Service == "") == (o.Exec == "") {
		return nil, fmt.Errorf("%w: give either a service's URL or a command that starts one", ErrConfig)
	}
	if o.Exec != "" {
		return each(ctx, scenarios, o)
	}
	if u, err := url.Parse(o.Service); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %.80q is not the URL of a service: want one like http://127.0.0.1:8080", ErrConfig, o.Service)
	}
	return playAll(ctx, scenarios, o, o.Service, nil)
}

// playAll plays scenarios with one issuer; started is called once it is up.
func playAll(ctx context.Context, scenarios []*Scenario, o Options, service string, started func(*Issuer) error) ([]Result, error) {
	scopes, releases := Needs(scenarios)
	u, err := url.Parse(service)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	iss, err := Start(ctx, Config{
		Audience: o.Audience, Scopes: scopes, Releases: releases, Service: u.Scheme + "://" + u.Host, Listen: o.Listen,
	})
	if err != nil {
		return nil, err
	}
	defer iss.Close()
	if started != nil {
		if err := started(iss); err != nil {
			return nil, err
		}
	}
	p := Player{Issuer: iss, Service: service, ShowTokens: o.ShowTokens}
	var out []Result
	for _, s := range scenarios {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		out = append(out, p.Play(ctx, s))
	}
	return out, nil
}

// each plays every scenario in a world of its own.
func each(ctx context.Context, scenarios []*Scenario, o Options) ([]Result, error) {
	results, errs := make([]Result, len(scenarios)), make([]error, len(scenarios))
	slots := make(chan struct{}, max(o.Parallel, 1))
	var wg sync.WaitGroup
	for n, s := range scenarios {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if errs[n] = ctx.Err(); errs[n] == nil {
				results[n], errs[n] = alone(ctx, s, o)
			}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// alone starts the service for one scenario and stops it.
func alone(ctx context.Context, s *Scenario, o Options) (Result, error) {
	ports, err := loopback.Reserve(1)
	if err != nil {
		return Result{}, fmt.Errorf("set a port aside: %w", err)
	}
	defer ports.Close()
	addr := "127.0.0.1:" + strconv.Itoa(ports.Numbers[0])
	var p process
	defer p.stop()
	out, err := playAll(ctx, []*Scenario{s}, o, "http://"+addr, func(iss *Issuer) error {
		return p.start(ctx, o, addr, append(iss.Env(), "PORT="+strconv.Itoa(ports.Numbers[0])))
	})
	if err != nil {
		return Result{}, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return out[0], nil
}

// process is a service that we started.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	said tail
}

// start returns once the service accepts connections.
func (p *process) start(ctx context.Context, o Options, addr string, env []string) error {
	p.cmd = exec.Command("sh", "-c", o.Exec)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	// A process group of its own, so that what the shell starts ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return fmt.Errorf("%w: %w", ErrService, err)
	}
	p.gone = make(chan struct{})
	go func() { // ends with the process, for which stop waits
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	if o.Start <= 0 {
		o.Start = 30 * time.Second
	}
	limit := time.NewTimer(o.Start)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr); err == nil {
			_ = c.Close()
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("%w: %q ended before it listened on %s; it said:\n%s", ErrService, o.Exec, addr, p.said.text())
		case <-limit.C:
			return fmt.Errorf("%w: %q does not listen on %s ($PORT) after %v; it said:\n%s", ErrService, o.Exec, addr, o.Start, p.said.text())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop asks the service to end, and ends it when it has not after five seconds.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) // gone already: nothing to do
	select {
	case <-p.gone:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.gone
	}
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

// maxTail is how much is kept, in bytes.
const maxTail = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(len(t.buf)-maxTail, 0):]
	return len(b), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}
