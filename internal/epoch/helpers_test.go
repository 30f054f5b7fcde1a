package epoch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
)

// testKey is a fixed P-256 key: its parts are in golden bytes.
func testKey(kid string) Key {
	d := big.NewInt(7)
	//lint:ignore SA1019 the raw value is the point: a key that golden bytes can name
	priv := &ecdsa.PrivateKey{D: d}
	priv.Curve = elliptic.P256()
	priv.X, priv.Y = priv.ScalarBaseMult(d.Bytes())
	k, err := jose.NewKey(kid, jose.ES256, &priv.PublicKey)
	if err != nil {
		panic(err)
	}
	return Key{ID: kid, Alg: "ES256", JWK: k.JWK(), State: "active"}
}

func testService() *Service {
	return &Service{
		Name: "shop", Audience: []string{"https://shop.example"}, OwnIssuer: true, Issuers: []string{"corp"},
		Routes: []Route{{Name: "all", Path: "/*"}},
		Releases: []Release{
			{Name: "one", Upstreams: []Upstream{{URL: "http://127.0.0.1:1"}}},
			{Name: "two", Upstreams: []Upstream{{URL: "http://127.0.0.1:2"}}, Accept: []string{"one"}},
		},
		Split: Split{Stable: "one"},
	}
}

func testKeys() *Keys { return &Keys{Issuer: "https://as.example", Keys: []Key{testKey("k1")}} }

func testIssuers() *Issuers {
	return &Issuers{Issuers: []Issuer{{Name: "corp", Issuer: "https://corp.example", Keys: []Key{testKey("c1")}, Introspect: true, Prefix: "corp_"}}}
}

func mustCompile(t testing.TB, s *Service) *Table {
	t.Helper()
	m, bodies, err := Build(s, testKeys(), testIssuers())
	if err != nil {
		t.Fatal(err)
	}
	table, err := Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mark(release mintmark.ReleaseID, seq uint64) mintmark.Token {
	return mintmark.Token{ID: "tok_1", Kind: mintmark.KindAccessJWT, Mark: mintmark.Mark{Release: release, Seq: seq}}
}
