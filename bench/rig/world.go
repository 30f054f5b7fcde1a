package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// world is everything that runs during the benchmark.
type world struct {
	o        options
	minted   *minted
	script   string // wrk's
	upstream string // URL of what answers
	procs    []*process
	peers    []*peer
	admin    string
}

// Our gateway, and the same with a cache so small that each request meets it
// with a token it must verify anew.
const (
	whole    = "mintmark"
	uncached = "mintmark each token new"
	// uncounted is our gateway built without accounting; straight is the service with
	// no proxy before it, for what latency a proxy adds.
	uncounted = "mintmark uncounted"
	straight  = "no proxy"
)

func newWorld(ctx context.Context, o options) (_ *world, err error) {
	w := &world{o: o}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.minted, err = mint(o.tokens); err != nil {
		return nil, err
	}
	w.script = filepath.Join(o.dir, "wrk.lua")
	for name, text := range map[string]string{"wrk.lua": w.minted.script(), "key.pem": string(w.minted.pem)} {
		if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := w.answerer(ctx); err != nil {
		return nil, err
	}
	if o.wants(whole) || o.wants(uncached) || o.uncounted != "" && o.wants(uncounted) {
		if err := w.control(ctx); err != nil {
			return nil, err
		}
	}
	for _, p := range []struct {
		name, checks string
		start        func(context.Context, string, int) (*process, error)
	}{
		{straight, "none", nil},
		{whole, "RS256, cached", w.gateway("gw-whole", o.binary, 200_000)},
		{"our bare proxy", "none", w.goProxy("bare")},
		{uncounted, "RS256, cached", w.gateway("gw-uncounted", o.uncounted, 200_000)},
		{uncached, "RS256, each time", w.gateway("gw-uncached", o.binary, 1000)},
		{"nginx", "none", w.nginx},
		{"HAProxy", "none", w.haproxy("")},
		{"HAProxy jwt_verify", "RS256, each time", w.haproxy(jwtVerify)},
		{"Go ReverseProxy, tuned", "none", w.goProxy("reverseproxy")},
	} {
		if !o.wants(p.name) || p.name == uncounted && o.uncounted == "" {
			continue
		}
		if p.start == nil {
			w.peers = append(w.peers, &peer{name: p.name, checks: p.checks, url: w.upstream})
			continue
		}
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
		proc, err := p.start(ctx, addr, ports[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if err := reachable(ctx, addr, proc); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		w.peers = append(w.peers, &peer{name: p.name, checks: p.checks, url: "http://" + addr, procs: []*process{proc}})
	}
	return w, nil
}

func (w *world) close() {
	for i := len(w.procs) - 1; i >= 0; i-- {
		w.procs[i].stop()
	}
}

// answerer is the service behind all proxies: an nginx that says a short text.
func (w *world) answerer(ctx context.Context) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	w.upstream = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	p, err := w.nginxProcess("answerer", w.o.others, fmt.Sprintf(`server {
    listen 127.0.0.1:%d backlog=1024;
    default_type application/json;
    location / { return 200 '{"id":"17","state":"shipped","items":[{"sku":"a-1","n":2},{"sku":"b-7","n":1}]}'; }
  }`, ports[0]))
	if err != nil {
		return err
	}
	return reachable(ctx, fmt.Sprintf("127.0.0.1:%d", ports[0]), p)
}

func (w *world) nginx(_ context.Context, addr string, _ int) (*process, error) {
	return w.nginxProcess("nginx", w.o.core, fmt.Sprintf(`upstream up { server %s; keepalive 128; keepalive_requests 10000000; }
  server {
    listen %s backlog=1024;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }`, w.upstream[len("http://"):], addr))
}

func (w *world) nginxProcess(name, cores, servers string) (*process, error) {
	file := filepath.Join(w.o.dir, name+".conf")
	text := fmt.Sprintf(`daemon off;
worker_processes 1;
pid %[1]s/%[2]s.pid;
error_log %[1]s/%[2]s.err;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 10000000;
  client_body_temp_path %[1]s/%[2]s.b; proxy_temp_path %[1]s/%[2]s.p; fastcgi_temp_path %[1]s/%[2]s.f; uwsgi_temp_path %[1]s/%[2]s.u; scgi_temp_path %[1]s/%[2]s.s;
  %[3]s
}
`, w.o.dir, name, servers)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return w.start(name, cores, nil, "nginx", "-e", filepath.Join(w.o.dir, name+".err"), "-c", file)
}

// jwtVerify checks the signature of each request's token.
const jwtVerify = `
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny unless { var(txn.alg) -m str RS256 }
  http-request deny unless { var(txn.bearer),jwt_verify(txn.alg,"%s/key.pem") 1 }`

func (w *world) haproxy(rules string) func(context.Context, string, int) (*process, error) {
	return func(_ context.Context, addr string, port int) (*process, error) {
		if rules != "" {
			rules = fmt.Sprintf(rules, w.o.dir)
		}
		file := filepath.Join(w.o.dir, fmt.Sprintf("haproxy-%d.cfg", port))
		text := fmt.Sprintf(`global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
frontend f
  bind %s%s
  default_backend b
backend b
  http-reuse always
  server up %s
`, addr, rules, w.upstream[len("http://"):])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return w.start(fmt.Sprintf("haproxy-%d", port), w.o.core, nil, "haproxy", "-f", file)
	}
}

func (w *world) goProxy(kind string) func(context.Context, string, int) (*process, error) {
	return func(_ context.Context, addr string, _ int) (*process, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return w.start(kind, w.o.core, []string{"GOMAXPROCS=1"}, self, "-serve", kind, "-listen", addr, "-upstream", w.upstream)
	}
}

// control brings the product's control plane up with the service declared.
func (w *world) control(ctx context.Context) error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	dir := w.o.dir
	w.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := os.WriteFile(filepath.Join(dir, "resources.yaml"), []byte(w.minted.resources(w.upstream)), 0o600); err != nil {
		return err
	}
	file := filepath.Join(dir, "control.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `data: %s/control
issuer: http://127.0.0.1:%d
listen:
  gateway: {address: "-"}
  authority: {address: "127.0.0.1:%d"}
  admin: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  bus: {address: "127.0.0.1:%d"}
`, dir, ports[0], ports[0], ports[1], ports[2], ports[3]), 0o600); err != nil {
		return err
	}
	if err := w.cli(ctx, "init", "--config", file, "--credential", filepath.Join(dir, "operator.json")); err != nil {
		return err
	}
	p, err := w.start("control", w.o.others, nil, w.o.binary, "control", "--config", file)
	if err != nil {
		return err
	}
	if err := reachable(ctx, w.admin[len("http://"):], p); err != nil {
		return err
	}
	if err := w.cli(ctx, "login", "--credential", filepath.Join(dir, "operator.json")); err != nil {
		return err
	}
	return w.cli(ctx, "apply", "--yes", "-f", filepath.Join(dir, "resources.yaml"))
}

// cli runs a command of the product's with a home of its own.
func (w *world) cli(ctx context.Context, args ...string) error {
	_, err := w.output(ctx, args...)
	return err
}

func (w *world) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, w.o.binary, args...)
	cmd.Env = append(os.Environ(), "HOME="+w.o.dir, "XDG_CONFIG_HOME="+w.o.dir)
	out, err := cmd.Output()
	if err != nil {
		detail := ""
		if e, ok := err.(*exec.ExitError); ok {
			detail = string(e.Stderr)
		}
		return nil, fmt.Errorf("mintmark %s: %w\n%s%s", args[0], err, out, detail)
	}
	return out, nil
}

// gateway joins a gateway whose cache holds so many tokens.
func (w *world) gateway(name, binary string, cache int) func(context.Context, string, int) (*process, error) {
	return func(ctx context.Context, addr string, _ int) (*process, error) {
		token, err := w.output(ctx, "gateway", "join-token", name, "-o", "json")
		if err != nil {
			return nil, err
		}
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		join, err := joinValue(token)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(w.o.dir, name+".yaml")
		text := fmt.Sprintf(`data: %[1]s/%[2]s
listen:
  gateway: {address: "%[3]s"}
  authority: {address: "-"}
  admin: {address: "-"}
  metrics: {address: "127.0.0.1:%[4]d"}
gateway:
  name: %[2]s
  control: %[5]s
  join: {file: %[1]s/%[2]s.join}
  cache: %[6]d
`, w.o.dir, name, addr, ports[0], w.admin, cache)
		for file, text := range map[string]string{file: text, filepath.Join(w.o.dir, name+".join"): join} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
		p, err := w.start(name, w.o.core, []string{"GOMAXPROCS=1"}, binary, "gateway", "--config", file)
		if err != nil {
			return nil, err
		}
		if err := reachable(ctx, addr, p); err != nil {
			return nil, err
		}
		return p, w.ready(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[0]), 20*time.Second)
	}
}
