package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// turn loads one peer as hard as it goes, then gently for its latency.
func (w *world) turn(ctx context.Context, p *peer) (turn, error) {
	// Warm caches and connections: one run that meets every token, before the first
	// that counts.
	for length := 2 * time.Second; !p.warm; length *= 2 {
		n, err := w.wrk(ctx, p, length)
		if err != nil {
			return turn{}, err
		}
		p.warm = n >= w.o.tokens
	}
	before := p.cpu()
	profile, err := w.profile(p)
	if err != nil {
		return turn{}, err
	}
	n, err := w.wrk(ctx, p, w.o.length)
	profile(n)
	if err != nil {
		return turn{}, err
	}
	t := turn{rate: float64(n) / w.o.length.Seconds(), cpu: (p.cpu() - before).Seconds() / float64(n) * 1e6}
	t.p50, t.p99, err = w.latency(ctx, p)
	for _, c := range p.procs {
		t.rss += c.rss()
	}
	return t, err
}

func (p *peer) cpu() (d time.Duration) {
	for _, c := range p.procs {
		d += c.cpu()
	}
	return d
}

// wrk returns how many requests were answered, and fails when one was refused.
func (w *world) wrk(ctx context.Context, p *peer, length time.Duration) (int, error) {
	cmd := exec.CommandContext(ctx, "taskset", "-c", w.o.others, "wrk", "-t1", fmt.Sprint("-c", w.o.conns),
		fmt.Sprintf("-d%ds", int(length.Seconds())), "-s", w.script, p.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	_, rest, ok := strings.Cut(string(out), "RESULT ")
	var n, took, refused, broken int
	if _, err := fmt.Sscan(rest, &n, &took, &refused, &broken); !ok || err != nil {
		return 0, fmt.Errorf("wrk said: %s", out)
	}
	if n == 0 || refused > 0 || broken > 0 {
		return 0, fmt.Errorf("of %d requests %d were refused and %d broke off", n, refused, broken)
	}
	return int(float64(n) * length.Seconds() / (float64(took) / 1e6)), nil
}

// latency sends requests at the fixed rate, due at fixed times whatever came
// before, and returns percentiles in µs counted from when each was due.
func (w *world) latency(ctx context.Context, p *peer) (p50, p99 float64, err error) {
	const lanes = 16
	every := time.Second / time.Duration(w.o.rate)
	n := max(int(w.o.length/2/every), lanes)
	took := make([]float64, n)
	errs := make([]error, lanes)
	start := time.Now().Add(50 * time.Millisecond)
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				errs[lane] = err
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			for i := lane; i < n; i += lanes {
				due := start.Add(time.Duration(i) * every)
				time.Sleep(time.Until(due))
				fmt.Fprintf(c, "GET /orders/%d HTTP/1.1\r\nHost: orders.bench.example\r\nAuthorization: Bearer %s\r\n\r\n", i, w.minted.values[i%len(w.minted.values)])
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					errs[lane] = err
					return
				}
				io.Copy(io.Discard, resp.Body)
				took[i] = float64(time.Since(due).Microseconds())
				if resp.StatusCode != http.StatusOK {
					errs[lane] = fmt.Errorf("answer %d", resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took[n/2], took[n*99/100], errors.Join(errs...)
}
