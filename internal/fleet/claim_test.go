package fleet_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/fleet"
)

// claim sends a renewal as a compromised gateway would, and returns the answer.
func (c *cluster) claim(id mintmark.GatewayID, q bus.LeaseRequest) bus.Lease {
	c.t.Helper()
	q.V, q.Gateway, q.Boot, q.Nonce = 1, id, "boot_x", "n"
	data, err := bus.Encode(q)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.gates[id].conn.Request(c.t.Context(), bus.SubjectLease+string(id), data)
	if err != nil {
		c.t.Fatal(err)
	}
	var a bus.Lease
	if err := bus.Decode(answer, &a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *cluster) member(id mintmark.GatewayID) fleet.Gateway {
	c.t.Helper()
	for _, g := range c.fleet.Gateways() {
		if g.Gateway == id {
			return g
		}
	}
	c.t.Fatalf("no gateway %s", id)
	return fleet.Gateway{}
}

// signedRow signs a row that follows nothing of ours.
func signedRow(t *testing.T, key ed25519.PrivateKey, seq, term uint64) *epoch.SignedRow {
	t.Helper()
	row, err := epoch.SignRow(epoch.Row{Seq: seq, Term: term, KeyID: "state-1"}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &row
}

// A compromised gateway claims numbers that control does not hold, in every way it
// can. It gets no lease for that and is suspect; control and the others go on.
func TestAForgedClaimHarmsNobodyElse(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	c.gates["west"].stop()
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	head := c.fleet.Current()
	rows, err := c.ledger.StateRows(t.Context(), head.Seq, 1)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	held := &epoch.SignedRow{Body: rows[0].Body, Signature: rows[0].Signature}
	at := func(term, number, seq uint64) bus.LeaseRequest {
		return bus.LeaseRequest{Term: term, Epoch: number, Seq: seq, RowHash: head.RowHash}
	}
	refused := c.fleet.ClaimsRefused()
	for name, q := range map[string]bus.LeaseRequest{
		"higher row":      at(head.Term, head.Epoch, head.Seq+1),
		"highest row":     at(head.Term, head.Epoch, ^uint64(0)),
		"higher term":     at(head.Term+1, head.Epoch, head.Seq),
		"higher epoch":    at(head.Term, head.Epoch+1, head.Seq),
		"another hash":    {Term: head.Term, Epoch: head.Epoch, Seq: head.Seq, RowHash: epoch.Hash{1}},
		"an earlier hash": {Term: head.Term, Epoch: head.Epoch, Seq: head.Seq - 1, RowHash: head.RowHash},
	} {
		// Its right to show something comes back with time, so that each is tried.
		for what, e := range map[string]*bus.Evidence{
			"nothing":               nil,
			"an empty thing":        {},
			"a row it signed":       {Row: signedRow(t, stranger, head.Seq+1, head.Term+1)},
			"a row that is held":    {Row: held},
			"a head it signed":      {Head: &bus.SnapshotHead{Term: 9, Seq: 99}, KeyID: "state-1", Signature: make([]byte, 64)},
			"both":                  {Row: held, Head: &bus.SnapshotHead{}},
			"a torn row":            {Row: &epoch.SignedRow{Body: held.Body[:len(held.Body)-1], Signature: held.Signature}},
			"a row under no key id": {Row: &epoch.SignedRow{Body: []byte(`{"seq":99,"term":9}`), Signature: make([]byte, 64)}},
		} {
			q.Evidence = e
			if a := c.claim("west", q); a.MS != 0 || !a.Prove {
				t.Errorf("%s, showing %s: granted %d ms, %q", name, what, a.MS, a.Reason)
			}
			refused++
		}
	}
	for _, a := range []bus.Ack{
		{V: 1, Gateway: "west", Term: head.Term + 7, Epoch: 1 << 40, Seq: 1 << 40},
		{V: 1, Gateway: "west", Term: head.Term, Seq: head.Seq + 1},
	} {
		data, err := bus.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.gates["west"].conn.Publish(t.Context(), bus.SubjectAck+"west", data); err != nil {
			t.Fatal(err)
		}
		refused++
	}
	c.until("all refusals counted", func() bool { return c.fleet.ClaimsRefused() == refused })
	if g := c.member("west"); g.State != "suspect" || g.Suspect == "" || g.Refused == 0 || g.Seq > head.Seq {
		t.Errorf("west: %+v", g)
	}
	if g := c.member("east"); g.State != "live" || g.Refused != 0 {
		t.Errorf("east: %+v", g)
	}
	// Its word is not asked for either: a commit that it could refuse goes through.
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Strict)})
	got := c.wait(c.commit(revoke("bob")).Receipt, 10*time.Second)
	if reach(got)["east"] != mintmark.ReachApplied || reach(got)["west"] == mintmark.ReachApplied {
		t.Errorf("%s %+v", got.Outcome, got.Gateways)
	}
	if !refuses(c.gates["east"].Current(), "bob") {
		t.Error("east does not follow any more")
	}
	// What it says within our log is its own affair: it gets leases again.
	if a := c.claim("west", at(head.Term, head.Epoch, head.Seq)); a.MS == 0 {
		t.Errorf("no lease for a true claim: %q", a.Reason)
	}
}

// Evidence is weighed at most once a second for each gateway: a claim that could
// be shown meanwhile is asked for again.
func TestEvidenceIsWeighedInTime(t *testing.T) {
	c := newCluster(t, "east")
	c.gates["east"].stop()
	head := c.fleet.Current()
	q := bus.LeaseRequest{Term: head.Term, Seq: head.Seq + 5, Evidence: &bus.Evidence{}}
	c.claim("east", q)
	q.Evidence = &bus.Evidence{Row: signedRow(t, c.key, head.Seq+5, head.Term)}
	if a := c.claim("east", q); a.MS != 0 || !a.Prove {
		t.Errorf("%+v", a)
	}
	c.commit(revoke("alice")) // it still leads
	c.until("weighed", func() bool { return !c.claim("east", q).Prove })
	if _, err := c.fleet.Commit(t.Context(), revoke("bob")); !errors.Is(err, fleet.ErrBehind) {
		t.Errorf("leads although a gateway has shown a newer row: %v", err)
	}
}

// A ledger restored from an old backup and written to since has rows of the same
// numbers: what the gateway applied, row or snapshot, shows that they are others.
func TestAForkedLedgerDoesNotLead(t *testing.T) {
	for _, how := range []string{"row", "snapshot"} {
		t.Run(how, func(t *testing.T) {
			c := newCluster(t, "east")
			backup := c.ledger.Copy()
			for _, who := range []string{"alice", "bob", "dave"} {
				c.wait(c.commit(revoke(who)).Receipt, 10*time.Second)
			}
			if how == "snapshot" {
				c.gates["east"].stop()
				c.gates["east"].store.Reset()
				c.startGateway("east")
				c.until("leased", func() bool { return c.gates["east"].Freshness().Leased })
				if e := c.gates["east"].store.Applied().Evidence; e == nil || e.Head == nil {
					t.Fatalf("it began from no snapshot: %+v", e)
				}
			}
			c.gates["east"].stop()
			c.stop()
			c.ledger = backup
			c.startControl()
			for range 10 {
				c.commit(revoke("carol"))
			}
			c.startGateway("east")
			c.until("alarm", func() bool {
				_, err := c.fleet.Commit(t.Context(), revoke("carol"))
				return errors.Is(err, fleet.ErrBehind)
			})
			if s := c.gates["east"].Current(); !refuses(s, "alice") || refuses(s, "carol") {
				t.Error("the gateway changed sides")
			}
		})
	}
}
