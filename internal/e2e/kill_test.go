package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
	"github.com/mintmark/mintmark/internal/rollout"
)

// TestKillAnyProcessAtAnyTime kills control and gateways at random moments while a
// crowd calls the service and others revoke, suspend, restore, roll out and roll
// back. After each restart whatever was acknowledged is in force at every gateway,
// nobody harmless is refused, and the ledger verifies (G6, I1, I5; RB01).
func TestKillAnyProcessAtAnyTime(t *testing.T) {
	kills, seed := 8, uint64(20)
	if soak {
		kills, seed = 240, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	w := newWorld(t, worldOptions{Gateways: 3, People: 6, Machines: 24, APIKeys: 4, Clients: 12, Seed: seed})
	m := &mayhem{world: w, book: &book{}}
	m.enroll(3)
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for n, f := range []func(n int) error{m.revoke, m.revoke, m.suspend, m.release} {
		wg.Go(func() {
			for ctx.Err() == nil && !m.book.broken() {
				if err := f(n); err != nil && w.ctx.Err() == nil {
					m.book.violate("worker %d: %v", n, err)
				}
			}
		})
	}
	wg.Go(func() { m.probe(ctx, seed) })
	crowd, disperse := context.WithCancel(w.ctx)
	w.RunCrowd(crowd)
	w.eventually(60*time.Second, "the crowd's first tokens", func() error {
		if n := w.Crowd.Ready(); n < w.Crowd.Size()*9/10 {
			return fmt.Errorf("%d of %d have one", n, w.Crowd.Size())
		}
		return nil
	})
	r := rand.New(rand.NewPCG(seed, 1))
	for range kills {
		if m.book.broken() {
			break
		}
		m.kill(r)
	}
	stop()
	wg.Wait()
	m.check(0)
	disperse()
	w.Control.Kill()
	m.verified.Add(1)
	if err := w.verify(); err != nil {
		t.Error(err)
	}
	m.report(t)
	if err := w.Crowd.Score.Held(); err != nil {
		t.Errorf("%v: %v", err, w.Crowd.Score.Violations())
	}
}

// mayhem is what goes on during the kills.
type mayhem struct {
	*world
	book   *book
	people []demo.Person

	revoked, suspended, rolledBack, killed, verified atomic.Int64
}

// fact is what was acknowledged about one token: from then on every gateway
// answers it with code; "" is admitted.
type fact struct{ what, token, code string }

// book is the test's own account of what was acknowledged.
type book struct {
	mu         sync.Mutex
	facts      []fact               // guarded by mu
	rollouts   []mintmark.RolloutID // guarded by mu; rolled back
	violations []string             // guarded by mu
}

func (b *book) note(f ...fact) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.facts = append(b.facts, f...)
}

func (b *book) violate(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.violations) < 20 {
		b.violations = append(b.violations, fmt.Sprintf(format, args...))
	}
}

func (b *book) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.violations) > 0
}

// newest returns the last n facts, all for 0, and the rollouts.
func (b *book) newest(n int) ([]fact, []mintmark.RolloutID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n == 0 || n > len(b.facts) {
		n = len(b.facts)
	}
	return append([]fact(nil), b.facts[len(b.facts)-n:]...), append([]mintmark.RolloutID(nil), b.rollouts...)
}

// enroll makes users of the vault, whose tokens have families and grants.
func (m *mayhem) enroll(n int) {
	admin, err := m.Admin(m.ctx)
	must(m.t, err)
	for i := range n {
		p := demo.Person{Name: fmt.Sprintf("keeper-%d", i), Password: newKey()}
		_, err := admin.PutUser(m.ctx, api.UserRequest{User: api.User{Name: p.Name}, Password: p.Password})
		must(m.t, err)
		m.people = append(m.people, p)
	}
}

// Clients 0 to 3 are the rollouts', 4 and 5 the suspensions', the others are
// revoked: who is revoked by one worker must not matter to another.
func (m *mayhem) victim(worker, turn int) int { return 6 + 3*worker + turn%3 }

// revoke takes a fresh token back by one of the selectors.
func (m *mayhem) revoke(worker int) error {
	turn := int(m.revoked.Add(1))
	var tok demo.Tokens
	var err error
	selector := ""
	if turn%8 >= 6 { // by what only a signed-in user's tokens have
		if err = m.try(5*time.Minute, func() (err error) { // several pages, between kills
			tok, err = m.vault.Person(m.ctx, vaultWeb, vaultRedirect, vaultScope, m.people[turn%len(m.people)])
			return err
		}); err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		if turn%8 == 6 {
			selector = "family=" + m.claim(tok.Access, "mintmark", "fam")
		} else {
			selector = "grant=" + m.claim(tok.Access, "mintmark", "grt")
		}
	} else {
		if tok, err = m.tryMint(m.victim(worker, turn)); err != nil {
			return fmt.Errorf("mint: %w", err)
		}
		selector = []string{
			"token=" + m.claim(tok.Access, "jti"), "subject=" + m.claim(tok.Access, "sub"), "token=" + m.claim(tok.Access, "jti"),
			"client=" + m.claim(tok.Access, "client_id"), "client=" + m.claim(tok.Access, "client_id") + ",audience=" + vaultAudience,
			"subject=" + m.claim(tok.Access, "sub") + ",scope=" + vaultScope,
		}[turn%8]
	}
	a, err := m.world.revoke(selector, "")
	if err != nil {
		return fmt.Errorf("revoke %s: %w", selector, err)
	}
	if !effective(a.Receipt) {
		return fmt.Errorf("revoke %s: outcome %+v", selector, a.Receipt)
	}
	m.book.note(fact{"revoked " + selector, tok.Access, string(mintmark.CodeRevoked)})
	// However often it had to be asked for under its key, it happened once.
	if len(a.Receipt.Revocations) != 1 {
		return fmt.Errorf("revoke %s: the receipt names %d facts", selector, len(a.Receipt.Revocations))
	}
	s, _ := mintmark.ParseSelector(selector)
	if s.Token == "" && s.Family == "" && s.Grant == "" {
		return nil // others used the same one
	}
	return m.insist("", func(ctx context.Context, c *api.Client) error {
		n, err := facts(ctx, c, s.String())
		if err == nil && n != 1 {
			err = fmt.Errorf("%w: %s was revoked %d times", errFinal, selector, n)
		}
		return err
	})
}

// claim is claim for goroutines other than the test's.
func (m *mayhem) claim(token string, path ...string) string {
	v, err := readClaim(token, path...)
	if err != nil {
		m.book.violate("%v", err)
	}
	return v
}

// suspend suspends a client's tokens and restores them.
func (m *mayhem) suspend(int) error {
	client := 4 + int(m.suspended.Add(1))%2
	tok, err := m.tryMint(client)
	if err != nil {
		return fmt.Errorf("mint: %w", err)
	}
	if tok.Release != "vault/v1" {
		time.Sleep(50 * time.Millisecond)
		return nil // of a candidate, whose tokens are taken back for good
	}
	selector := "subject=" + m.claim(tok.Access, "sub")
	a, err := m.world.revoke(selector, "suspend")
	if err != nil || !effective(a.Receipt) {
		return fmt.Errorf("suspend %s: %+v, %w", selector, a, err)
	}
	for g := range m.Entries() {
		if s := m.present(m.ctx, g, "/vault/x", tok.Access); s.admitted() {
			return fmt.Errorf("%s admits what was suspended: %s", m.Gateways[g].Name, s)
		}
	}
	err = m.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		var err error
		a, err = c.Restore(ctx, api.RestoreRequest{Selector: selector, Reason: "test", Wait: true, Timeout: "40s"})
		return err
	})
	if err != nil || !effective(a.Receipt) {
		return fmt.Errorf("restore %s: %+v, %w", selector, a, err)
	}
	for g := range m.Entries() {
		if err := m.settled(g, tok.Access, ""); err != nil {
			return fmt.Errorf("%s refuses what was restored: %w", m.Gateways[g].Name, err)
		}
	}
	return nil
}

// release starts a rollout and takes it back.
func (m *mayhem) release(int) error {
	client := int(m.rolledBack.Add(1)) % 4
	id, bad, good, err := m.tryCanary(client)
	if err != nil {
		return fmt.Errorf("canary: %w", err)
	}
	r, err := m.world.rollback(id)
	if err != nil || !effective(r) {
		return fmt.Errorf("rollback %s: %+v, %w", id, r, err)
	}
	for g := range m.Entries() {
		if s := m.present(m.ctx, g, "/vault/x", good.Access); s.Release != "v1" && !s.unknown() {
			return fmt.Errorf("after the rollback %s answers a harmless token %s", m.Gateways[g].Name, s)
		}
	}
	m.book.note(fact{"tainted by " + string(id), bad.Access, string(mintmark.CodeRevoked)}, fact{"minted before " + string(id), good.Access, ""})
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	m.book.rollouts = append(m.book.rollouts, id)
	return nil
}

// probe presents tokens of the book at random gateways, all the time.
func (m *mayhem) probe(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	for ctx.Err() == nil {
		time.Sleep(2 * time.Millisecond)
		facts, _ := m.book.newest(0)
		if len(facts) == 0 {
			continue
		}
		f, g := facts[r.IntN(len(facts))], r.IntN(len(m.Entries()))
		s := m.present(ctx, g, "/vault/x", f.token)
		switch {
		case s.unknown():
		case f.code != "" && s.admitted(), f.code == "" && !s.admitted():
			m.book.violate("%s answers %s, which was %s", m.Gateways[g].Name, s, f.what)
		}
	}
}

// kill ends one or two processes, starts them again and checks.
func (m *mayhem) kill(r *rand.Rand) {
	time.Sleep(time.Duration(20+r.IntN(500)) * time.Millisecond)
	all := m.Processes()
	down := []*demo.Process{all[0]}
	if r.IntN(2) == 0 {
		down[0] = all[1+r.IntN(len(all)-1)]
	}
	switch r.IntN(6) {
	case 0:
		down = all // everything at once
	case 1:
		if other := all[r.IntN(len(all))]; other != down[0] {
			down = append(down, other)
		}
	}
	control := false
	for _, p := range down {
		p.Kill()
		m.killed.Add(1)
		control = control || p == m.Control
	}
	if control && r.IntN(2) == 0 {
		m.verified.Add(1)
		if err := m.verify(); err != nil {
			m.book.violate("after kill %d: %v", m.killed.Load(), err)
		}
	}
	if r.IntN(12) == 0 { // longer than a lease
		time.Sleep(4 * time.Second)
	}
	for _, p := range all { // control first: without it no gateway knows what it may do
		if p.PID() == 0 {
			m.restart(p)
		}
	}
	m.check(40)
}

// check compares every gateway, and control's account, with the last n facts of
// the book; 0 is all.
func (m *mayhem) check(n int) {
	facts, rollouts := m.book.newest(n)
	var wg sync.WaitGroup
	for g := range m.Entries() {
		wg.Go(func() {
			for _, f := range facts {
				if err := m.settled(g, f.token, f.code); err != nil {
					m.book.violate("%s, which was %s: %v", m.Gateways[g].Name, f.what, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n > 0 && len(rollouts) > 3 {
		rollouts = rollouts[len(rollouts)-3:]
	}
	for _, id := range rollouts {
		if err := m.insist("", func(ctx context.Context, c *api.Client) error {
			got, err := c.Rollout(ctx, id)
			if err == nil && (got.State != string(rollout.RolledBack) || count(got.History, rollout.VerbRollback) != 1) {
				err = fmt.Errorf("%w: %s is %s: %+v", errFinal, id, got.State, got.History)
			}
			return err
		}); err != nil {
			m.book.violate("rollback: %v", err)
		}
	}
}

func (m *mayhem) report(t *testing.T) {
	facts, rollouts := m.book.newest(0)
	s := m.Crowd.Score
	t.Logf("%d kills, %d ledgers verified at rest; %d facts acknowledged and held, %d rollbacks; %d revocations, %d suspensions begun",
		m.killed.Load(), m.verified.Load(), len(facts), len(rollouts), m.revoked.Load(), m.suspended.Load())
	t.Logf("crowd: %d requests, %d answered, %d told to come back, %d unreachable, %d issued, %d refreshed, %d not issued",
		s.Requests.Load(), s.OK.Load(), s.Unknown.Load(), s.Unreachable.Load(), s.Issued.Load(), s.Refreshed.Load(), s.MintFailed.Load())
	for _, v := range m.book.violations {
		t.Error(v)
	}
	if len(rollouts) == 0 || m.suspended.Load() < 2 || m.revoked.Load() < 4 || s.OK.Load() < 100 {
		t.Error(errors.New("too little happened for this to prove anything"))
	}
}
