package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
)

// The world of a rig: one service behind strict routes, one that may be decided
// for four seconds without hearing from control, one whose tokens are opaque.
const plain = `apiVersion: mintmark/v1
kind: Policy
name: orders-v1
audience: ["https://orders.example"]
scopes: [orders.read, orders.write]
default_scopes: [orders.read]
access: 10m
refresh: 1h
grace: 2s
---
apiVersion: mintmark/v1
kind: Policy
name: orders-v2
extends: orders-v1
---
apiVersion: mintmark/v1
kind: Release
name: orders/v1
policy: orders-v1
upstreams: [{url: "$V1"}]
accept: [v2]
---
apiVersion: mintmark/v1
kind: Release
name: orders/v2
policy: orders-v2
upstreams: [{url: "$V2"}]
accept: [v1]
---
apiVersion: mintmark/v1
kind: Service
name: orders
audience: ["https://orders.example"]
release: v1
routes:
- {name: read, path: "/orders/*", scopes: [orders.read], staleness: strict}
---
apiVersion: mintmark/v1
kind: Policy
name: shop
audience: ["https://shop.example"]
scopes: [shop.read, shop.write]
default_scopes: [shop.read]
access: 10m
refresh: 1h
grace: 2s
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: shop
upstreams: [{url: "$V1"}]
---
apiVersion: mintmark/v1
kind: Service
name: shop
audience: ["https://shop.example"]
release: v1
routes:
- {name: read, path: "/shop/*", scopes: [shop.read], staleness: 4s}
---
apiVersion: mintmark/v1
kind: Policy
name: vault
format: opaque
audience: ["https://vault.example"]
scopes: [vault.read, vault.write]
default_scopes: [vault.read]
access: 10m
refresh: 1h
---
apiVersion: mintmark/v1
kind: Release
name: vault/v1
policy: vault
upstreams: [{url: "$V1"}]
---
apiVersion: mintmark/v1
kind: Service
name: vault
audience: ["https://vault.example"]
release: v1
routes:
- {name: read, path: "/vault/*", scopes: [vault.read], staleness: strict}
---
apiVersion: mintmark/v1
kind: Client
name: portal
first_party: true
redirect_uris: ["http://127.0.0.1/callback"]
scopes: [orders.read, orders.write, shop.read, shop.write, vault.read, vault.write]
---
apiVersion: mintmark/v1
kind: Client
name: machine
auth: client_secret_basic
grants: [client_credentials]
scopes: [orders.read, orders.write, shop.read, shop.write, vault.read, vault.write]
---
apiVersion: mintmark/v1
kind: Client
name: other
auth: client_secret_basic
grants: [client_credentials]
scopes: [orders.read, orders.write, shop.read, shop.write, vault.read, vault.write]
---
apiVersion: mintmark/v1
kind: Client
name: bound
auth: client_secret_basic
grants: [client_credentials]
bound: dpop
scopes: [orders.read, orders.write]
---
apiVersion: mintmark/v1
kind: User
name: ann
---
apiVersion: mintmark/v1
kind: User
name: bob
`

// A service whose route is never fenced, for those who ask for it.
const static = `---
apiVersion: mintmark/v1
kind: Service
name: archive
audience: ["https://orders.example"]
release: v1
routes:
- {name: read, path: "/archive/*", scopes: [orders.read], staleness: static}
---
apiVersion: mintmark/v1
kind: Release
name: archive/v1
policy: orders-v1
upstreams: [{url: "$V1"}]
`

const (
	ordersAudience = "https://orders.example"
	shopAudience   = "https://shop.example"
	opaqueAudience = "https://vault.example"
)

// credential is what a client presents.
type credential struct {
	value   string
	refresh string
	key     *ecdsa.PrivateKey // of DPoP; nil for a bearer
}

// put presents the credential with a request.
func (c *credential) put(req *http.Request) {
	if c.key == nil {
		req.Header.Set("Authorization", "Bearer "+c.value)
		return
	}
	sum := sha256.Sum256([]byte(c.value))
	req.Header.Set("Authorization", "DPoP "+c.value)
	req.Header.Set("DPoP", proof(c.key, req.Method, req.URL.String(), map[string]any{"ath": base64.RawURLEncoding.EncodeToString(sum[:])}))
}

// tokens is the token endpoint's answer.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Expires int64  `json:"expires_in"`
	Scope   string `json:"scope"`
}

// ask asks the token endpoint; key signs a DPoP proof unless it is nil. Errors of
// the endpoint are *demo.Refused.
func (r *rig) ask(key *ecdsa.PrivateKey, form map[string]string, client, secret string) (tokens, error) {
	var t tokens
	values := url.Values{}
	for k, v := range form {
		values.Set(k, v)
	}
	nonce := ""
	for {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.issuer+"/token", bytes.NewReader([]byte(values.Encode())))
		if err != nil {
			return t, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if secret != "" {
			req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
		}
		if key != nil {
			more := map[string]any{}
			if nonce != "" {
				more["nonce"] = nonce
			}
			req.Header.Set("DPoP", proof(key, http.MethodPost, r.issuer+"/token", more))
		}
		res, err := r.http.Do(req)
		if err != nil {
			return t, err
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
		if err != nil {
			return t, err
		}
		if n := res.Header.Get("DPoP-Nonce"); res.StatusCode != http.StatusOK && n != "" && nonce == "" {
			nonce = n
			continue
		}
		if res.StatusCode != http.StatusOK {
			e := &demo.Refused{Status: res.StatusCode}
			_ = json.Unmarshal(body, e)
			return t, e
		}
		return t, json.Unmarshal(body, &t)
	}
}

// machine obtains a token by client credentials.
func (r *rig) machine(client, audience, scope string) *credential {
	r.t.Helper()
	var key *ecdsa.PrivateKey
	if client == "bound" {
		key = newECKey()
	}
	t, err := r.ask(key, map[string]string{"grant_type": "client_credentials", "scope": scope, "resource": audience}, client, r.secrets[client])
	if err != nil {
		r.t.Fatalf("token for %s: %v", client, err)
	}
	return &credential{value: t.Access, key: key}
}

// person signs a user in by the pages; the user's password is set first.
func (r *rig) person(name, audience, scope string) *credential {
	r.t.Helper()
	const password = "correct horse battery staple"
	if !r.enrolled[name] {
		_, err := r.api().PutUser(r.t.Context(), api.UserRequest{User: api.User{Name: name}, Password: password})
		must(r.t, err)
		r.enrolled[name] = true
	}
	c, err := demo.NewClient(r.t.Context(), r.http, r.issuer, audience)
	must(r.t, err)
	t, err := c.Person(r.t.Context(), "portal", "http://127.0.0.1/callback", scope, demo.Person{Name: name, Password: password})
	if err != nil {
		r.t.Fatalf("sign %s in: %v", name, err)
	}
	return &credential{value: t.Access, refresh: t.Refresh}
}

// renew uses a refresh token of the portal.
func (r *rig) renew(refresh string) (tokens, error) {
	return r.ask(nil, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "portal"}, "", "")
}

// apiKey makes an API key.
func (r *rig) apiKey(subject, audience, scope string) *credential {
	r.t.Helper()
	k, err := r.api().CreateAPIKey(r.t.Context(), api.APIKeyRequest{
		Name: "partner", Owner: "partner@example.com", Subject: subject, Client: "portal", Scopes: strings.Fields(scope), Audience: []string{audience},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return &credential{value: k.Value}
}

// look asks control about a credential, by the id that the upstream was told.
func (r *rig) look(a answer) *api.Token {
	r.t.Helper()
	id := a.told.Header.Get("Mintmark-Token-Id")
	t, err := r.api().Token(r.t.Context(), mintmark.TokenID(id))
	if err != nil {
		r.t.Fatalf("token %q of answer %s: %v", id, a, err)
	}
	return t
}

func newECKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the machine has no randomness
	}
	return k
}

// jwk is a key's public part.
func jwk(k *ecdsa.PrivateKey) map[string]string {
	b, err := k.PublicKey.Bytes()
	if err != nil {
		panic(err) // the curve is P-256
	}
	return map[string]string{
		"kty": "EC", "crv": "P-256",
		"x": base64.RawURLEncoding.EncodeToString(b[1:33]), "y": base64.RawURLEncoding.EncodeToString(b[33:]),
	}
}

// proof is a DPoP proof (RFC 9449 §4.2).
func proof(k *ecdsa.PrivateKey, method, uri string, more map[string]any) string {
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": uri, "iat": time.Now().Unix()}
	for name, v := range more {
		claims[name] = v
	}
	return signES256(k, map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(k)}, claims)
}

// assertion is a client assertion (RFC 7523 §2.2).
func assertion(k *ecdsa.PrivateKey, client, audience string) string {
	now := time.Now().Unix()
	return signES256(k, map[string]any{"alg": "ES256", "kid": "k1"}, map[string]any{
		"iss": client, "sub": client, "aud": audience, "jti": rand.Text(), "iat": now, "exp": now + 300,
	})
}

func signES256(k *ecdsa.PrivateKey, header, claims map[string]any) string {
	h, err := json.Marshal(header)
	if err != nil {
		panic(fmt.Sprint("a header of strings: ", err))
	}
	c, err := json.Marshal(claims)
	if err != nil {
		panic(fmt.Sprint("claims of strings and numbers: ", err))
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(rand.Reader, k, sum[:])
	if err != nil {
		panic(err) // P-256 with good randomness
	}
	var sig [64]byte
	x.FillBytes(sig[:32])
	y.FillBytes(sig[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(sig[:])
}
