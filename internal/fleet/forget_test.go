package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/fleet/fleettest"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/follower/followertest"
	"github.com/mintmark/mintmark/internal/revocation"
)

// wire carries a follower's questions to a fleet by function call.
type wire struct {
	bus.Conn
	fleet func() *Fleet
}

func (wire) Publish(context.Context, string, []byte) error { return nil }
func (wire) Subscribe(string, bus.Handler) (func(), error) { return func() {}, nil }
func (w wire) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	f := w.fleet()
	for prefix, handle := range map[string]bus.Handler{
		bus.SubjectTail: reply(f.tail), bus.SubjectSnapshot: reply(f.snapshot), bus.SubjectParts: reply(f.parts), bus.SubjectLease: f.lease,
	} {
		if strings.HasPrefix(subject, prefix) {
			if a := handle(ctx, subject, data); a != nil {
				return a, nil
			}
		}
	}
	return nil, bus.ErrNoAnswer
}

// issued is a token and until when it is live.
type issued struct {
	token mintmark.Token
	until int64
}

// model is a fleet, its followers, and what never forgets.
type model struct {
	t         *rapid.T
	ledger    *fleettest.Ledger
	fleet     *still
	followers []*follower.Follower
	stores    []*followertest.Store
	tokens    []issued
	facts     map[mintmark.RevocationID]mintmark.Revocation // not restored
	made      int
}

func (m *model) follow(store *followertest.Store) *follower.Follower {
	f := follower.New(follower.Config{
		Gateway: mintmark.GatewayID(fmt.Sprintf("g%d", len(m.followers))), Boot: "boot_1", Bus: wire{fleet: func() *Fleet { return m.fleet.Fleet }},
		Store: store, Clock: boottime.Now, Random: rand.Reader, Wait: 20 * time.Second,
		StateKey: func(string) ed25519.PublicKey { return m.fleet.cfg.Key.Public().(ed25519.PublicKey) },
	})
	if err := f.Open(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	return f
}

// revoke takes a token back, alone or with its subject, for as long as any covered
// token lives; or for ever.
func (m *model) revoke() {
	x := rapid.SampledFrom(m.tokens).Draw(m.t, "token")
	fact := mintmark.Revocation{Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: x.token.ID}, Forget: x.until}
	if rapid.Bool().Draw(m.t, "by subject") {
		fact.Selector = mintmark.Selector{Subject: x.token.Subject}
		for _, y := range m.tokens {
			if y.token.Subject == x.token.Subject {
				fact.Forget = max(fact.Forget, y.until)
			}
		}
	}
	if rapid.IntRange(0, 9).Draw(m.t, "for ever") == 0 {
		fact.Forget = 0
	}
	m.commit(Change{Kind: "revoke", Revocations: []mintmark.Revocation{fact}})
}

func (m *model) commit(c Change) {
	r, err := m.fleet.Commit(context.Background(), c)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, v := range r.Row.Revocations {
		m.facts[v.ID] = v
	}
	for _, id := range r.Row.Restores {
		delete(m.facts, id)
	}
}

func (m *model) restore() {
	if len(m.facts) > 0 {
		m.commit(Change{Kind: "restore", Restores: []mintmark.RevocationID{rapid.SampledFrom(slices.Sorted(maps.Keys(m.facts))).Draw(m.t, "fact")}})
	}
}

func (m *model) issue() {
	m.made++
	m.tokens = append(m.tokens, issued{mintmark.Token{
		ID:   mintmark.TokenID(mintmark.NewID(mintmark.PrefixToken, m.fleet.wall, [10]byte{byte(m.made), byte(m.made >> 8)})),
		Kind: mintmark.KindOpaque, Subject: fmt.Sprintf("s%d", rapid.IntRange(0, 3).Draw(m.t, "subject")),
	}, m.fleet.wall.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Hour)).Draw(m.t, "life"))).Unix()})
	m.tokens[len(m.tokens)-1].token.Mark.Seq = m.ledger.Head().Issued + 1
}

// pass lets time pass.
func (m *model) pass() {
	d := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(m.t, "time"))
	m.fleet.clock += d
	m.fleet.wall = m.fleet.wall.Add(d)
	m.fleet.forget(context.Background())
}

// again ends control and starts it, after a while.
func (m *model) again() {
	wall, clock := m.fleet.wall, m.fleet.clock
	away := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(m.t, "away"))
	m.fleet = newStillAt(m.t, m.ledger, clock+away, wall.Add(away))
}

func (m *model) catchUp(i int) {
	f := m.followers[i]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	if err := f.CatchUp(ctx, m.fleet.Current().Seq); err != nil {
		m.t.Fatal(err)
	}
	cancel()
	<-done
}

// check holds every set against what never forgets: what is live, on a clock that is
// up to an hour behind, is refused as before; and what is held is the same in all.
func (m *model) check() {
	now := m.fleet.wall.Add(-forgetMargin).Unix()
	for _, x := range m.tokens {
		if x.until < now {
			continue
		}
		want := false
		for _, fact := range m.facts {
			want = want || revocation.Covers(&fact, &x.token)
		}
		if got := m.fleet.Current().Revoked.Find(&x.token) != nil; got != want {
			m.t.Fatalf("control refuses %s, live until %d: %v, want %v", x.token.ID, x.until, got, want)
		}
	}
	for i, f := range m.followers {
		if f.Current().Seq != m.fleet.Current().Seq {
			continue
		}
		held, stored := ids(slices.Collect(f.Current().Revoked.All())), m.stored(i)
		if want := ids(slices.Collect(m.fleet.Current().Revoked.All())); !slices.Equal(held, want) || !slices.Equal(stored, want) {
			m.t.Fatalf("gateway %d holds %v and stores %v at row %d, control %v", i, held, stored, f.Current().Seq, want)
		}
	}
}

func (m *model) stored(i int) []mintmark.RevocationID {
	_, facts, err := m.stores[i].Load(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	return ids(facts)
}

func ids(facts []mintmark.Revocation) []mintmark.RevocationID {
	out := make([]mintmark.RevocationID, 0, len(facts))
	for _, f := range facts {
		out = append(out, f.ID)
	}
	slices.Sort(out)
	return out
}

// TestForgettingChangesNoAnswer plays issue, revocation, restore, time, restarts of
// control, and gateways that follow by rows in any batches or begin with a snapshot.
func TestForgettingChangesNoAnswer(t *testing.T) {
	forgot := 0
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, ledger: fleettest.New(), facts: map[mintmark.RevocationID]mintmark.Revocation{}}
		m.fleet = newStillAt(t, m.ledger, time.Hour, time.Unix(1_800_000_000, 0))
		m.issue()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1:
				m.issue()
			case 2, 3, 4:
				m.revoke()
			case 5:
				m.restore()
			case 6, 7:
				m.pass()
			case 8:
				m.again()
			default:
				if len(m.followers) < 3 {
					m.stores = append(m.stores, &followertest.Store{})
					m.followers = append(m.followers, m.follow(m.stores[len(m.stores)-1]))
				}
				m.catchUp(rapid.IntRange(0, len(m.followers)-1).Draw(t, "gateway"))
			}
			m.check()
		}
		for i := range m.followers {
			m.catchUp(i)
		}
		m.check()
		forgot += len(m.facts) - m.fleet.Current().Revoked.Len()
	})
	if forgot == 0 {
		t.Error("nothing was ever forgotten")
	}
}

// What is held is bounded by what is live, however many facts there were; and a wall
// clock that jumps ahead drops nothing that is not over.
func TestForgettingIsBoundedAndImmuneToTheWallClock(t *testing.T) {
	l := fleettest.New()
	s := newStill(t, l)
	fact := func(i int, lives time.Duration) mintmark.Revocation {
		return mintmark.Revocation{Selector: mintmark.Selector{Subject: fmt.Sprint(i)}, Forget: s.wall.Add(lives).Unix()}
	}
	most := 0
	for i := range 2000 {
		if _, err := s.Commit(t.Context(), Change{Kind: "revoke", Revocations: []mintmark.Revocation{fact(i, time.Hour)}}); err != nil {
			t.Fatal(err)
		}
		s.pass(5 * time.Minute)
		s.forget(t.Context())
		most = max(most, s.Current().Revoked.Len())
	}
	if most > 60 {
		t.Errorf("%d facts held, of which some 24 can matter", most)
	}
	before := s.Current().Revoked.Len()
	s.wall = s.wall.Add(365 * 24 * time.Hour)
	s.clock += forgetEvery
	s.forget(t.Context())
	s.clock += forgetAlone
	s.forget(t.Context())
	if n := s.Current().Revoked.Len(); n < before-4 {
		t.Errorf("a jump of the wall clock dropped %d of %d facts", before-n, before)
	}
}
