package follower_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/follower/followertest"
)

// liar is a bus whose control answers whatever a test wants.
type liar struct {
	answer func(subject string, data []byte) any
	asked  atomic.Int64
}

func (l *liar) Publish(context.Context, string, []byte) error { return nil }

func (l *liar) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	l.asked.Add(1)
	switch a := l.answer(subject, data).(type) {
	case nil:
		<-ctx.Done()
		return nil, bus.ErrNoAnswer
	case string:
		return []byte(a), nil
	default:
		return bus.Encode(a)
	}
}

func (l *liar) Subscribe(string, bus.Handler) (func(), error)  { return func() {}, nil }
func (l *liar) Serve(string, int, bus.Handler) (func(), error) { return func() {}, nil }

func facts(t *testing.T, n int) (out []json.RawMessage, digest epoch.Hash) {
	h := sha256.New()
	for i := range n {
		b, err := bus.Encode(mintmark.Revocation{
			ID: mintmark.RevocationID("rev_" + strings.Repeat("x", i+1)), Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "alice"},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Write(b)
		out = append(out, b)
	}
	return out, epoch.Hash(h.Sum(nil))
}

// TestOnlyAWholeSnapshotIsTaken: empty, partial, altered or foreign answers
// neither revoke nor restore; the same answer, whole, is taken.
func TestOnlyAWholeSnapshotIsTaken(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all, digest := facts(t, 3)
	page := func(signer ed25519.PrivateKey, change func(*bus.SnapshotPage)) bus.SnapshotPage {
		p := bus.SnapshotPage{V: 1, KeyID: "k", Revocations: all, Head: bus.SnapshotHead{Term: 1, Seq: 7, Revocations: 3, Digest: digest}}
		body, err := bus.SnapshotBytes(p.Head)
		if err != nil {
			t.Fatal(err)
		}
		if p.Signature, err = signer.Sign(nil, body, crypto.Hash(0)); err != nil {
			t.Fatal(err)
		}
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		snapshot any
		taken    bool
	}{
		"whole":        {page(key, func(*bus.SnapshotPage) {}), true},
		"stranger":     {page(stranger, func(*bus.SnapshotPage) {}), false},
		"unknown key":  {page(key, func(p *bus.SnapshotPage) { p.KeyID = "other" }), false},
		"truncated":    {page(key, func(p *bus.SnapshotPage) { p.Revocations = all[:2] }), false},
		"no facts":     {page(key, func(p *bus.SnapshotPage) { p.Revocations = nil }), false},
		"reordered":    {page(key, func(p *bus.SnapshotPage) { p.Revocations = []json.RawMessage{all[1], all[0], all[2]} }), false},
		"repeated":     {page(key, func(p *bus.SnapshotPage) { p.Revocations = append(p.Revocations[:3:3], all[0]) }), false},
		"newer number": {page(key, func(p *bus.SnapshotPage) { p.Head.Seq = 8 }), false},
		"endless":      {page(key, func(p *bus.SnapshotPage) { p.Next = "7/1" }), false},
		"error":        {bus.SnapshotPage{V: 1, Error: "no"}, false},
		"html":         {"<html>502 Bad Gateway</html>", false},
		"empty":        {"", false},
		"nothing":      {"{}", false},
		"silence":      {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &liar{}
			l.answer = func(subject string, _ []byte) any {
				switch {
				case strings.HasPrefix(subject, bus.SubjectTail):
					return bus.Tail{V: 1, Head: 7}
				case strings.HasPrefix(subject, bus.SubjectSnapshot):
					return c.snapshot
				}
				return nil
			}
			f := follower.New(follower.Config{
				Gateway: "east", Bus: l, Store: &followertest.Store{}, Clock: boottime.Now, Random: rand.Reader,
				StateKey: func(kid string) ed25519.PublicKey {
					if kid != "k" {
						return nil
					}
					return pub
				},
				Wait: 200 * time.Millisecond,
			})
			if err := f.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = f.Run(ctx) }()
			defer func() { cancel(); <-done }()
			err := f.CatchUp(t.Context(), 7)
			s := f.Current()
			if taken := s.Seq == 7 && s.Revoked.Len() == 3; taken != c.taken || !c.taken && (s.Seq != 0 || s.Revoked.Len() != 0) {
				t.Errorf("at row %d with %d facts: %v", s.Seq, s.Revoked.Len(), err)
			}
		})
	}
}
