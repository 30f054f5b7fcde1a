package testkit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/revocation"
)

// state is the state log of one process: rows go through the ledger, and the
// snapshot follows in the same call, so that whoever asks afterwards, authority or
// gateway, decides by it. With nobody to wait for there are no leases and barriers.
type state struct {
	ledger  *ledger.Ledger
	key     ed25519.PrivateKey
	now     func() time.Time
	current atomic.Pointer[epoch.Snapshot]

	mu     sync.Mutex
	parts  map[epoch.PartName][]byte // guarded by mu
	bodies map[epoch.Hash][]byte     // guarded by mu
}

func newState(l *ledger.Ledger, key ed25519.PrivateKey, now func() time.Time) *state {
	return &state{ledger: l, key: key, now: now, parts: map[epoch.PartName][]byte{}, bodies: map[epoch.Hash][]byte{}}
}

// Current implements authority.State and gateway.State.
func (s *state) Current() *epoch.Snapshot { return s.current.Load() }

// Settled implements authority.State: everybody is up to date.
func (s *state) Settled() *epoch.Snapshot { return s.current.Load() }

// Freshness implements gateway.State.
func (s *state) Freshness() admission.Freshness { return admission.Freshness{Leased: true} }

// errBeyond: a token names a row that was never written.
var errBeyond = errors.New("testkit: beyond the head of the state log")

// CatchUp implements gateway.State: the snapshot is the head.
func (s *state) CatchUp(_ context.Context, seq uint64) error {
	if snap := s.current.Load(); snap == nil || seq > snap.Seq {
		return errBeyond
	}
	return nil
}

// Revoke implements authority.Revoker.
func (s *state) Revoke(ctx context.Context, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(ctx, "", facts, b)
}

// PublishKeys implements authority.Publisher.
func (s *state) PublishKeys(ctx context.Context, keys epoch.Keys, _, _ string) error {
	return s.put(ctx, epoch.PartKeys, &keys, "keys")
}

func (s *state) setService(ctx context.Context, svc *epoch.Service) error {
	return s.put(ctx, epoch.ServicePartName(svc.Name), svc, "apply")
}

func (s *state) put(ctx context.Context, name epoch.PartName, part any, kind string) error {
	body, hash, err := epoch.Encode(part)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, had := s.parts[name]
	s.parts[name], s.bodies[hash] = body, body
	if _, err = s.commit(ctx, kind, nil, ledger.Batch{}); err != nil {
		if s.parts[name] = before; !had {
			delete(s.parts, name)
		}
	}
	return err
}

// commit writes one row and follows it. kind is empty for a row without an epoch.
// The caller holds mu.
func (s *state) commit(ctx context.Context, kind string, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	for i := range facts {
		if facts[i].ID == "" {
			var r [10]byte
			_, _ = rand.Read(r[:]) // never fails
			facts[i].ID = mintmark.RevocationID(mintmark.NewID(mintmark.PrefixRevocation, s.now(), r))
			facts[i].Made = s.now().UnixMilli()
		}
	}
	next := &epoch.Snapshot{Term: 1, Revoked: revocation.NewSet()}
	if prev := s.current.Load(); prev != nil {
		*next = *prev
	}
	var commit *epoch.Commit
	if kind != "" {
		var m epoch.Manifest
		for name, body := range s.parts {
			m = m.With(epoch.PartRef{Name: name, Hash: epoch.HashOf(body)})
		}
		table, err := epoch.Compile(m, s.bodies)
		if err != nil {
			return ledger.Committed{}, err
		}
		next.Table, next.Manifest, next.Epoch = table, m, next.Epoch+1
		commit = &epoch.Commit{Epoch: next.Epoch, Manifest: m.Hash(), Kind: kind}
	}
	b.Row = func(seq uint64, prev [32]byte, issued uint64) ([]byte, []byte, error) {
		row, err := epoch.SignRow(epoch.Row{
			Seq: seq, Term: 1, Prev: prev, At: s.now().UnixMilli(), Issued: issued,
			Commit: commit, Revocations: facts, KeyID: keyring.KeyID(s.key.Public()),
		}, s.key)
		return row.Body, row.Signature, err
	}
	done, err := s.ledger.Append(ctx, b)
	if err != nil {
		return done, err
	}
	next.Revoked.Apply(facts...)
	next.Seq, next.RowHash = done.RowSeq, done.RowHash
	s.current.Store(next)
	return done, nil
}

// serviceName is the name of the service under test in marks: service/v1.
const serviceName = "service"

// serviceOf is the service under test, in all its releases at one place. Its routes
// ask for no scope: that is the service's to judge.
func serviceOf(c Config, upstream, stable string) *epoch.Service {
	s := &epoch.Service{
		Name: serviceName, Audience: []string{c.Audience}, OwnIssuer: true,
		Routes: []epoch.Route{{Name: "all", Path: "/*"}},
		Split:  epoch.Split{Stable: stable, Salt: "dGVzdGtpdA"},
	}
	for n, name := range c.Releases {
		if name != stable { // what they minted stays good until a scenario takes it back
			s.Retired = append(s.Retired, epoch.Retired{
				Release: name, CutoffSeq: math.MaxInt64,
				Rules: []epoch.DispositionRule{{Class: "native", Disposition: mintmark.Keep}},
			})
		}
		s.Releases = append(s.Releases, epoch.Release{
			Name: name, Upstreams: []epoch.Upstream{{URL: upstream}},
			Mint: epoch.Mint{
				Policy: "testkit", Version: uint64(n + 1), Format: "jwt", Alg: "ES256", Audience: []string{c.Audience},
				Scopes: c.Scopes, DefaultScopes: c.Scopes, AccessSeconds: int64(MaxLifetime / time.Second),
			},
		})
	}
	return s
}
