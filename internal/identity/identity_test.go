package identity

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

func TestValuesBelongToNames(t *testing.T) {
	got := map[string]string{}
	token := &mintmark.Token{
		ID: "tok_1", Subject: "ada", Client: "shop", Actor: "machine", Scopes: []string{"a", "b"}, Expires: 7,
		Mark: mintmark.Mark{Release: "orders/v1"},
	}
	for i, v := range Values(token, mintmark.StateActive, "9") {
		got[Names()[i]] = v
	}
	for name, want := range map[string]string{
		TokenID: "tok_1", Subject: "ada", Client: "shop", Actor: "machine", State: "active", Scopes: "a b", Expires: "7", Release: "orders/v1", Epoch: "9",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for i, v := range Values(nil, mintmark.StateActive, "9") {
		if name := Names()[i]; (v != "") != (name == Epoch) {
			t.Errorf("of nobody %s is %q", name, v)
		}
	}
}

func TestNamesAreReserved(t *testing.T) {
	names := Names()
	for _, name := range append(names[:], Claims, RenewAfter, MustRenew) {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not canonical: it could not be found in a header", name)
		}
		for _, spelt := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.Replace(name, "-", "_", 1))} {
			if !Reserved(spelt) || !Ours(spelt) {
				t.Errorf("%s is not reserved", spelt)
			}
		}
	}
	for _, name := range []string{"Accept", "Authorization", "X-Request-Id", "Mint", "Traceparent", ""} {
		if Reserved(name) || Ours(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}

// What other proxies name the client, its certificate or its request by is theirs to
// say, hence nobody's who reaches us (RFC 9440 §4 for Client-Cert).
func TestOtherProxiesNamesAreReserved(t *testing.T) {
	for _, name := range []string{
		"Client-Cert", "Client-Cert-Chain", "Client_Cert", "X-Client-Cert", "SSL-Client-Verify", "Ssl_Client_S_Dn", "X-SSL-Client-DN", "X-Client-Dn",
		"X-ARR-ClientCert", "Client-Ip", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "Remote_Addr", "Fastly-Client-IP", "X-Azure-ClientIP",
		"X-Original-Host", "X-Original-Forwarded-For", "X-Original-URL", "X-Rewrite-URL", "X-Envoy-Original-Path", "X-Envoy-External-Address",
		"X-Real-IP", "X-Forwarded-Client-Cert", "X-HTTP-Method-Override",
	} {
		if !Reserved(name) {
			t.Errorf("%s may be sent by anybody", name)
		}
	}
	for _, name := range []string{"X-Client-Version", "X-Hostname", "Client-Version", "X-Request-Id", "X-Original", "Content-Type", "Cookie"} {
		if Reserved(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}

// The quick way and the plain way agree for every spelling.
func FuzzReserved(f *testing.F) {
	for _, s := range []string{"Mintmark-Token-Subject", "mintmark_token_id", "X_Forwarded-For", "x-auth", "Accept", "DPOP", "x-mintmark-" + strings.Repeat("a", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		low := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if strings.IndexFunc(name, func(r rune) bool { return r > 0x7f }) < 0 && Reserved(name) != reservedName(low) {
			t.Errorf("Reserved(%q) = %v", name, Reserved(name))
		}
	})
}
