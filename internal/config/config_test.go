package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
)

func TestDefaultIsValidAndOnLoopback(t *testing.T) {
	c, err := Parse("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range c.listeners() {
		if !l.Off() && !strings.HasPrefix(l.Address, "127.0.0.1:") {
			t.Errorf("%s listens on %s by default", l.name, l.Address)
		}
	}
}

func TestParse(t *testing.T) {
	c, err := Parse("m.yaml", []byte(`
# a comment
issuer: https://auth.example.com
listen:
  gateway:
    address: 0.0.0.0:443
    tls: {cert: a.pem, key: b.pem}
control: {lease: 5s}
egress:
  allow: [10.0.0.0/8]
login:
  - name: corp
    issuer: https://idp.example.com
    client_id: mm
    client_secret: {env: IDP_SECRET}
`), []string{"MINTMARK_CONTROL_LEASE=2s", "MINTMARK_LISTEN_ADMIN_ADDRESS=127.0.0.1:9", "MINTMARK_SERVER=x", "HOME=/"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Control.Lease.D() != 2*time.Second || c.Listen.Admin.Address != "127.0.0.1:9" {
		t.Errorf("environment did not override: %+v", c.Control)
	}
	if c.Listen.Gateway.TLS == nil || c.Listen.Gateway.TLS.Key != "b.pem" || len(c.Egress.Allow) != 1 || c.Login[0].Secret.Env != "IDP_SECRET" {
		t.Errorf("read %+v", c)
	}
	if c.Listen.Authority.Address != "127.0.0.1:8081" {
		t.Errorf("default lost: %q", c.Listen.Authority.Address)
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, text, env, want string }{
		{"unknown with suggestion", "lisen: {}", "", "m.yaml:1:1: lisen: unknown key; did you mean listen?"},
		{"unknown nested", "listen:\n  gatewy: {}", "", "m.yaml:2:3: listen.gatewy: unknown key; did you mean gateway?"},
		{"twice", "data: a\ndata: b", "", "m.yaml:"},
		{"wrong type", "listen: 5", "", "m.yaml:1:9: listen: want a mapping of"},
		{"not a number", "gateway: {cache: many}", "", "m.yaml:1:18: gateway.cache: \"many\": want a whole number"},
		{"out of bounds", "control:\n  lease: 1h", "", "m.yaml:2:10: control.lease: 1h0m0s is out of bounds; want 500ms to 1m0s"},
		{"no duration", "control: {lease: fast}", "", "is not a duration"},
		{"open without TLS", "listen:\n  admin:\n    address: 0.0.0.0:80", "", "m.yaml:3:14: listen.admin.address: 0.0.0.0:80 is reachable from outside and has no TLS"},
		{"empty host is every host", "listen: {admin: {address: ':80'}}", "", "reachable from outside"},
		{"decisions for everybody", "listen: {decide: {address: '0.0.0.0:9'}}", "", "listen.decide.address: 0.0.0.0:9 is reachable from outside"},
		{"join token in the clear", "gateway: {control: 'http://10.0.0.1:8082'}", "", "gateway.control: the join token would travel readable"},
		{"port", "listen: {admin: {address: '127.0.0.1:99999'}}", "", "is not a port"},
		{"issuer slash", "issuer: https://a.example/", "", "no query, fragment or trailing slash"},
		{"issuer http", "issuer: http://a.example", "", "must be https"},
		{"two sources", "secrets: {kek: {file: a, env: b}}", "", "names both file and env"},
		{"alias", "data: &a x\nissuer: *a", "", "aliases are not accepted"},
		{"broken", "data: [", "", "not YAML"},
		{"network", "egress: {allow: [ten]}", "", "is not a network"},
		{"admin URL with a path", "admin: {url: 'https://a.example/v1'}", "", "admin.url: \"https://a.example/v1\" is more than a server"},
		{"everybody is a proxy", "gateway: {trusted_proxies: [0.0.0.0/0]}", "", "gateway.trusted_proxies[0]: 0.0.0.0/0 trusts every client"},
		{"proxies in disguise", "authority: {trusted_proxies: ['::ffff:10.0.0.0/104']}", "", "authority.trusted_proxies[0]: ::ffff:10.0.0.0/104 is IPv4 written as IPv6"},
		{"null", "data:", "", "empty value"},
		{"environment misspelt", "", "MINTMARK_CONTROL_LEASES=1s", "environment: MINTMARK_CONTROL_LEASES: names no setting; did you mean MINTMARK_CONTROL_LEASE?"},
		{"environment wrong", "", "MINTMARK_GATEWAY_CACHE=x", "want a whole number"},
		{"bus on every address", "listen: {bus: {address: '0.0.0.0:4222'}}", "", "gateways cannot connect to \"0.0.0.0:4222\"; name as listen.bus.advertise"},
		{"bus advertised nowhere", "listen: {bus: {address: '10.0.0.1:4222', advertise: ':4222'}}", "", "m.yaml:1:53: listen.bus.advertise: gateways cannot connect to"},
		{"another bus", "gateway: {bus: here}", "", "gateway.bus: \"here\" is not host:port"},
		{"client CA", "listen: {admin: {address: '127.0.0.1:1', tls: {cert: a, key: b, require_client: true}}}", "", "name client_ca"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var env []string
			if tt.env != "" {
				env = []string{tt.env}
			}
			_, err := Parse("m.yaml", []byte(tt.text), env)
			var errs Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	_, err := Parse("m.yaml", []byte("a: 1\nb: 2\nlisten: {c: 3}"), nil)
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 3 {
		t.Fatalf("got %v", err)
	}
}

func TestSource(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, []byte(" hush \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Source{File: file}.Read(os.Getenv)
	if err != nil || s.Reveal() != "hush" {
		t.Fatalf("%v %v", s.Reveal(), err)
	}
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := (Source{File: file}).Read(os.Getenv); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read was accepted: %v", err)
	}
	if _, err := (Source{Env: "NONE"}).Read(func(string) string { return "" }); !errors.Is(err, ErrNoSecret) {
		t.Errorf("got %v", err)
	}
}

// Resources name secrets; they must not be able to name any file of the machine.
func TestReadIn(t *testing.T) {
	dir := t.TempDir()
	in, outside := filepath.Join(dir, "files"), filepath.Join(dir, "pepper")
	for _, err := range []error{
		os.Mkdir(in, 0o700), os.WriteFile(outside, []byte("pepper"), 0o600), os.WriteFile(filepath.Join(in, "idp"), []byte("s3cret\n"), 0o600),
		os.Symlink(outside, filepath.Join(in, "link")), os.Symlink("idp", filepath.Join(in, "inner")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"idp", "inner", filepath.Join(in, "idp")} {
		if s, err := ReadIn(in, name); err != nil || s.Reveal() != "s3cret" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"../pepper", outside, "link", "/etc/passwd", "none", "", "."} {
		if s, err := ReadIn(in, name); err == nil {
			t.Errorf("%s was read: %d bytes", name, len(s.Reveal()))
		}
	}
}

func TestKey32(t *testing.T) {
	for _, text := range []string{strings.Repeat("ab", 32), "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"} {
		key, err := Key32(mintmark.NewSecret(text))
		if err != nil || key[0] != 0xab || key[31] != 0xab {
			t.Errorf("%s: %x %v", text, key, err)
		}
	}
	if _, err := Key32(mintmark.NewSecret("short")); err == nil {
		t.Error("a short key was accepted")
	}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	s, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"pepper"`, `"client_ca"`, `"additionalProperties": false`, `Lease of a gateway`} {
		if !strings.Contains(string(s), want) {
			t.Errorf("schema lacks %s", want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("listen: {admin: {address: '127.0.0.1:1'}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("login:\n- name: x\n  client_secret: {file: y}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("m.yaml", text, nil)
		if err == nil && len(c.Validate("")) > 0 {
			t.Error("accepted what does not validate")
		}
		if err != nil {
			_ = err.Error()
		}
	})
}

func TestAdminURLs(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "http://127.0.0.1:8082 http://localhost:8082 http://127.0.0.1:8082 http://[::1]:8082"},
		{"listen: {admin: {address: '10.0.0.1:443', tls: {cert: a, key: b}}}", "https://10.0.0.1:443"},
		{"listen: {admin: {address: '0.0.0.0:443', tls: {cert: a, key: b}}}", ""},
		{"admin: {url: 'https://control.example'}\nlisten: {admin: {address: ':443', tls: {cert: a, key: b}}}", "https://control.example"},
		{"listen: {admin: {address: '-'}}", ""},
	} {
		c, err := Parse("", []byte(tt.text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.AdminURLs(), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, got, tt.want)
		}
	}
}
