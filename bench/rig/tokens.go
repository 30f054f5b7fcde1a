package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

const (
	issuer   = "https://login.bench.example"
	audience = "https://orders.bench.example"
)

// minted are distinct RS256 tokens of one foreign issuer, some 700 bytes each.
type minted struct {
	values []string
	jwks   string // the issuer's keys
	pem    []byte // the same key, for HAProxy
}

func mint(n int) (*minted, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding
	m := &minted{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}),
		jwks: fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"k1","alg":"RS256","use":"sig","e":"AQAB","n":%q}]}`, b64.EncodeToString(key.N.Bytes())),
	}
	head := b64.EncodeToString([]byte(`{"alg":"RS256","typ":"at+jwt","kid":"k1"}`))
	now := time.Now().Unix()
	for i := range n {
		claims, err := json.Marshal(map[string]any{
			"iss": issuer, "sub": fmt.Sprintf("user-%06d", i), "aud": audience, "client_id": fmt.Sprintf("app-%02d", i%20),
			"scope": "orders.read", "iat": now, "exp": now + 6*3600, "jti": rand.Text(),
		})
		if err != nil {
			return nil, err
		}
		text := head + "." + b64.EncodeToString(claims)
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			return nil, err
		}
		m.values = append(m.values, text+"."+b64.EncodeToString(sig))
	}
	return m, nil
}

// script is wrk's: each connection's next request has the next token.
func (m *minted) script() string {
	var b strings.Builder
	b.WriteString("local tokens = {\n")
	for _, v := range m.values {
		fmt.Fprintf(&b, "%q,\n", v)
	}
	b.WriteString(`}
local requests, i = {}, 0
init = function()
  for n, t in ipairs(tokens) do
    requests[n] = wrk.format("GET", "/orders/" .. n, {["Authorization"] = "Bearer " .. t, ["Host"] = "orders.bench.example", ["Accept"] = "application/json"})
  end
  tokens = nil
end
request = function()
  i = i % #requests + 1
  return requests[i]
end
done = function(s)
  print(string.format("RESULT %d %d %d %d", s.requests, s.duration, s.errors.status, s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout))
end
`)
	return b.String()
}

// resources declare the issuer and the service to the product.
func (m *minted) resources(upstream string) string {
	return fmt.Sprintf(`apiVersion: mintmark/v1
kind: Issuer
name: login
issuer: %s
jwks: %s
marks: [{release: orders/v1}]
---
apiVersion: mintmark/v1
kind: Policy
name: orders-v1
audience: [%s]
scopes: [orders.read]
---
apiVersion: mintmark/v1
kind: Release
name: orders/v1
policy: orders-v1
upstreams: [{url: "%s"}]
---
apiVersion: mintmark/v1
kind: Service
name: orders
audience: [%s]
issuers: [login]
release: v1
routes:
- {name: read, path: "/orders/*", methods: [GET], scopes: [orders.read]}
`, issuer, m.jwks, audience, upstream, audience)
}
