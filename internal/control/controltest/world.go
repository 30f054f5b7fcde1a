// Package controltest holds a control plane for tests: control on the real ledger
// and the real fleet, without gateways.
package controltest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// World is a control plane.
type World struct {
	T       testing.TB
	Control *control.Control
	Fleet   *fleet.Fleet
	Ledger  *ledger.Ledger
	Store   *sqlite.Store

	config control.Config

	later atomic.Int64 // what control's clock is ahead, in nanoseconds
}

// Later puts control's wall clock ahead; the ledger's stays.
func (w *World) Later(d time.Duration) { w.later.Add(int64(d)) }

func (w *World) now() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }

type secrets struct{}

// NewClientSecret makes a secret without a keyring.
func (secrets) NewClientSecret() (string, json.RawMessage, error) {
	return "mms_" + rand.Text(), json.RawMessage(`{"hash":"aGFzaA=="}`), nil
}

// New starts a control plane that ends with the test; change alters what control is
// made of.
func New(t testing.TB, change ...func(*control.Config)) *World {
	t.Helper()
	w := &World{T: t}
	ctx, stop := context.WithCancel(context.Background())
	dir := t.TempDir()
	var err error
	w.Store, err = sqlite.Open(ctx, sqlite.Options{Dir: dir, Scratch: true})
	w.must(err)
	_, auditKey, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	signer, err := auditlog.NewSigner("audit.test", auditKey)
	w.must(err)
	w.Ledger = ledger.New(ledger.Config{Engine: w.Store, Fold: projection.Fold, Sign: signer.Checkpoint, Now: time.Now, Random: rand.Reader})
	w.must(w.Ledger.Open(ctx))
	ledgerDone := make(chan struct{})
	go func() { defer close(ledgerDone); _ = w.Ledger.Run(ctx) }()
	server, err := jetstream.Open(jetstream.Options{Dir: dir + "/bus", Random: rand.Reader})
	w.must(err)
	conn, err := server.Control(ctx)
	w.must(err)
	_, stateKey, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	w.Fleet = fleet.New(fleet.Config{
		Ledger: w.Ledger, Store: w.Store, Bus: conn, Key: stateKey, KeyID: "state-1", Clock: boottime.Now, Now: time.Now, Random: rand.Reader,
	})
	w.must(w.Fleet.Open(ctx))
	f := control.Fleet{Fleet: w.Fleet, Wall: time.Now}
	w.config = control.Config{
		StateLog: f, State: f, Tokens: w.Store, Reach: w.Store, Store: w.Store, Rows: w.Store, Ledger: w.Ledger, Secrets: secrets{}, Now: w.now, Random: rand.Reader,
	}
	for _, f := range change {
		f(&w.config)
	}
	w.Control = control.New(w.config)
	t.Cleanup(func() {
		conn.Close()
		server.Close()
		stop()
		<-ledgerDone
		_ = w.Store.Close()
	})
	return w
}

// Again returns another control on the same ledger and fleet: what a restart would
// find.
func (w *World) Again() *control.Control { return control.New(w.config) }

func (w *World) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Issue writes a live token of a release as the authority would.
func (w *World) Issue(release mintmark.ReleaseID, change ...func(*mintmark.Token)) mintmark.TokenID {
	w.T.Helper()
	var r [10]byte
	_, _ = rand.Read(r[:])
	now := time.Now()
	t := mintmark.Token{
		ID: mintmark.TokenID(mintmark.NewID(mintmark.PrefixToken, now, r)), Kind: mintmark.KindAccessJWT, Issuer: "https://auth.example",
		Subject: "ada", Client: "web", Scopes: []string{"shop:read"}, Audience: []string{"https://shop.example"},
		Mark:     mintmark.Mark{Release: release, Policy: 1, Key: "k1", Epoch: 1, Seq: w.Ledger.Reserve()},
		IssuedAt: now.Unix(), Expires: now.Add(time.Hour).Unix(),
	}
	for _, f := range change {
		f(&t)
	}
	data, err := json.Marshal(mintmark.TokenIssued{Token: t})
	w.must(err)
	_, err = w.Ledger.Append(w.T.Context(), ledger.Batch{Events: []mintmark.Event{{
		Stream: "token/" + string(t.ID), Type: mintmark.EventTokenIssued, Actor: "system:test", Token: t.ID, Subject: t.Subject,
		Client: t.Client, Release: release, Data: data,
	}}})
	w.must(err)
	return t.ID
}

// Shop declares a service with a stable release v1 and a release v2 whose policy
// adds a scope that v1 never grants.
const Shop = `apiVersion: mintmark/v1
kind: Policy
name: shop
audience: [https://shop.example]
scopes: [shop:read, shop:write]
default_scopes: [shop:read]
---
apiVersion: mintmark/v1
kind: Policy
name: shop-next
extends: shop
forced_scopes: [shop:admin]
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: shop
upstreams: [{url: "http://127.0.0.1:9001"}]
accept: [v2]
---
apiVersion: mintmark/v1
kind: Release
name: shop/v2
policy: shop-next
upstreams: [{url: "http://127.0.0.1:9002"}]
accept: ["*"]
---
apiVersion: mintmark/v1
kind: Service
name: shop
audience: [https://shop.example]
release: v1
routes:
  - {name: all, path: /*, scopes: [shop:read]}
---
apiVersion: mintmark/v1
kind: Client
name: web
auth: client_secret_basic
grants: [client_credentials]
scopes: [shop:read]
`
