package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

var bg = context.Background()

func testAppend(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	handle := bytes.Repeat([]byte{7}, 32)
	id, e := b.Token(func(d *mintmark.TokenIssued) { d.Handle = handle; d.Name = "ci" })
	c := b.Must(t, ledger.Batch{Events: []mintmark.Event{e}, Expect: []ledger.Expect{{Stream: e.Stream}}})
	if c.First != 1 || c.Last != 1 || !c.At.Equal(b.Now()) {
		t.Errorf("committed %+v", c)
	}
	row, err := b.Store.TokenByID(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	if row.State != mintmark.StateIssued || row.Version != 1 || row.Name != "ci" || row.Mark.Seq != 1 || !row.HasScope("orders:read") {
		t.Errorf("row %+v", row)
	}
	if byHandle, err := b.Store.TokenByHandle(bg, handle); err != nil || byHandle.ID != id {
		t.Errorf("by handle: %v, %v", byHandle.ID, err)
	}
	if _, err := b.Store.TokenByID(bg, "tok_none"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("missing token: %v", err)
	}
	b.Must(t, ledger.Batch{Events: []mintmark.Event{Event(e.Stream, mintmark.EventTokenSuspended, mintmark.TokenChanged{ID: id, Reason: "look"})}})
	b.Must(t, ledger.Batch{Events: []mintmark.Event{Event(e.Stream, mintmark.EventTokenRestored, mintmark.TokenChanged{ID: id})}})
	b.Must(t, ledger.Batch{Events: []mintmark.Event{Event(e.Stream, mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: id, Reason: "lost"})}})
	if row, _ = b.Store.TokenByID(bg, id); row.State != mintmark.StateRevoked || row.Reason != "lost" || row.Version != 4 {
		t.Errorf("after revoke: %v %q %d", row.State, row.Reason, row.Version)
	}
	for _, dim := range []string{"token", "subject"} {
		value := string(id)
		if dim == "subject" {
			value = row.Subject
		}
		events, err := b.Store.EventsOf(bg, dim, value, 0, 10)
		if err != nil || len(events) == 0 || events[0].Token != id || events[0].Seq != 1 {
			t.Errorf("events of %s: %v, %v", dim, events, err)
		}
	}
	if r := b.Verify(t); r.Events != 4 || r.States["revoked"] != 1 {
		t.Errorf("report %+v", r)
	}
}

func testRefusals(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	id, e := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	_, other := b.Token(nil)
	for name, c := range map[string]struct {
		batch ledger.Batch
		want  error
	}{
		"stream exists": {ledger.Batch{Events: []mintmark.Event{other}, Expect: []ledger.Expect{{Stream: e.Stream}}}, ledger.ErrConflict},
		"token again":   {ledger.Batch{Events: []mintmark.Event{other, e}}, ledger.ErrConflict},
		"old state":     {ledger.Batch{Events: []mintmark.Event{other}, AsOf: 9}, ledger.ErrStale},
		"illegal":       {ledger.Batch{Events: []mintmark.Event{other, Event(e.Stream, mintmark.EventTokenRestored, mintmark.TokenChanged{ID: id})}}, nil},
		"no such token": {ledger.Batch{Events: []mintmark.Event{other, Event("token/x", mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: "x"})}}, ledger.ErrNotFound},
		"empty":         {ledger.Batch{}, nil},
		"forged row":    {ledger.Batch{Events: []mintmark.Event{Event("state", mintmark.EventStateCommitted, 1)}}, nil},
	} {
		_, err := b.Append(bg, c.batch)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Store.TokenByID(bg, other.Token); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a refused batch left its first event: %v", err)
	}
	b.Must(t, ledger.Batch{Events: []mintmark.Event{other}})
	b.Verify(t)
}

func testOnce(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	long := strings.Repeat("k", 2000)
	for _, key := range []string{"k", long} {
		mark := ledger.Once{Space: "dpop", Key: key, Expires: b.Now().Add(time.Minute)}
		b.Must(t, ledger.Batch{Once: []ledger.Once{mark}})
		if _, err := b.Append(bg, ledger.Batch{Once: []ledger.Once{mark}}); !errors.Is(err, ledger.ErrUsed) {
			t.Errorf("second use: %v", err)
		}
	}
	b.Clock.Add(62_000)
	b.Must(t, ledger.Batch{Once: []ledger.Once{{Space: "dpop", Key: "k", Expires: b.Now().Add(time.Minute)}}})
	var wins, lost int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			_, err := b.Append(bg, ledger.Batch{Once: []ledger.Once{{Space: "code", Key: "c", Expires: b.Now().Add(time.Minute)}}})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case errors.Is(err, ledger.ErrUsed):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wins != 1 || lost != 63 {
		t.Errorf("%d won, %d lost", wins, lost)
	}
	b.Verify(t)
}

func testDocuments(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	put := func(id string, body any, expect uint64) error {
		stream := "client/" + id
		_, err := b.Append(bg, ledger.Batch{Events: []mintmark.Event{Event(stream, "client.changed", body)}, Expect: []ledger.Expect{{Stream: stream, Version: expect}}})
		return err
	}
	if err := put("a", map[string]any{"ref": "alpha", "name": "A"}, 0); err != nil {
		t.Fatal(err)
	}
	if err := put("b", map[string]any{"ref": "alpha"}, 0); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("second name taken: %v", err)
	}
	if err := put("a", map[string]any{"name": "A2", "expires_at": 1900000000}, 1); err != nil {
		t.Fatal(err)
	}
	d, err := b.Store.Document(bg, ledger.DocClient, "a")
	if err != nil || d.Version != 2 || d.Ref != "" || d.Expires.Unix() != 1900000000 || !strings.Contains(string(d.Body), "A2") {
		t.Errorf("document %+v, %v", d, err)
	}
	if _, err := b.Store.DocumentByRef(bg, ledger.DocClient, "alpha"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("old second name: %v", err)
	}
	if err := put("a", nil, 2); err != nil {
		t.Fatal(err)
	}
	if err := put("a", map[string]any{"name": "A4"}, 0); err != nil {
		t.Errorf("made anew after removal: %v", err)
	}
	if d, err = b.Store.Document(bg, ledger.DocClient, "a"); err != nil || d.Version != 4 {
		t.Errorf("document %+v, %v", d, err)
	}
	for i := range 5 {
		if err := put(fmt.Sprintf("p%d", i), map[string]any{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	page, err := b.Store.Documents(bg, ledger.DocClient, "p1", 2)
	if err != nil || len(page) != 2 || page[0].ID != "p2" {
		t.Errorf("page %v, %v", page, err)
	}
	b.Verify(t)
}

// rotation is a family with its first refresh token.
func rotation(t testing.TB, b *Bench) (family mintmark.FamilyID, first mintmark.TokenID) {
	grant := mintmark.GrantMade{Grant: "grt_1", Subject: "ann", Client: "web"}
	family = "fam_1"
	id, e := b.Token(func(d *mintmark.TokenIssued) {
		d.Token.Kind, d.Token.Family, d.Token.Grant = mintmark.KindRefresh, family, grant.Grant
	})
	b.Must(t, ledger.Batch{Events: []mintmark.Event{
		Event("grant/grt_1", mintmark.EventGrantMade, grant), e,
		Event("family/fam_1", mintmark.EventFamilyOpened, mintmark.FamilyOpened{Family: family, Grant: grant.Grant, Current: id}),
	}})
	return family, id
}

func testRotation(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	family, first := rotation(t, b)
	secret := []byte("sealed answer that must not stay")
	var mu sync.Mutex
	var winner mintmark.TokenID
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			id, e := b.Token(func(d *mintmark.TokenIssued) {
				d.Token.Kind, d.Token.Family, d.Token.Grant = mintmark.KindRefresh, family, "grt_1"
			})
			_, err := b.Append(bg, ledger.Batch{Expect: []ledger.Expect{{Stream: "family/fam_1", Version: 1}}, Events: []mintmark.Event{
				e, Event("token/"+string(first), mintmark.EventTokenSuperseded, mintmark.TokenChanged{ID: first, By: id}),
				Event("family/fam_1", mintmark.EventFamilyRotated, mintmark.FamilyRotated{Family: family, Old: first, New: id, Sealed: secret, GraceUntil: b.Clock.Load() + 30_000}),
			}})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && winner != "":
				t.Errorf("both %s and %s won", winner, id)
			case err == nil:
				winner = id
			case !errors.Is(err, ledger.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := b.Store.Family(bg, family)
	if err != nil || f.Current != winner || f.Previous != first || !bytes.Equal(f.Sealed, secret) {
		t.Errorf("family %+v, %v", f, err)
	}
	if ids, _ := b.Store.TokensOfFamily(bg, family); len(ids) != 2 {
		t.Errorf("tokens %v", ids)
	}
	events, _ := b.Store.Events(bg, "family/fam_1", 0, 10)
	if len(events) != 2 || strings.Contains(string(events[1].Data), "sealed") {
		t.Errorf("the sealed answer stands in the event: %s", events[1].Data)
	}
	if r := b.Verify(t); r.Tokens != 2 || r.States["superseded"] != 1 {
		t.Errorf("report %+v", r)
	}
}

func testEnded(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	_, first := rotation(t, b)
	_, bystander := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{bystander}})
	b.Must(t, ledger.Batch{Events: []mintmark.Event{Event("grant/grt_1", mintmark.EventGrantRevoked, mintmark.GrantRevoked{Grant: "grt_1", Reason: "left"})}})
	if row, _ := b.Store.TokenByID(bg, first); row.State != mintmark.StateRevoked || row.Reason != "left" {
		t.Errorf("token of a revoked grant: %v %q", row.State, row.Reason)
	}
	if f, _ := b.Store.Family(bg, "fam_1"); !f.Revoked {
		t.Error("family of a revoked grant lives")
	}
	if row, _ := b.Store.TokenByID(bg, bystander.Token); row.State != mintmark.StateIssued {
		t.Errorf("bystander: %v", row.State)
	}
	if fams, _ := b.Store.FamiliesOfGrant(bg, "grt_1"); len(fams) != 1 {
		t.Errorf("families %v", fams)
	}
	b.Verify(t)
}

func testPurge(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	exp := b.Now().Unix() + 10
	for i := range 5 {
		b.Must(t, ledger.Batch{
			Events: []mintmark.Event{Event(fmt.Sprintf("code/%d", i), "code.made", map[string]any{"expires_at": exp + int64(i)})},
			Once:   []ledger.Once{{Space: "x", Key: fmt.Sprint(i), Expires: time.Unix(exp, 0)}},
		})
	}
	if due, err := b.Store.Due(bg, b.Now()); due || err != nil {
		t.Errorf("due %v, %v", due, err)
	}
	b.Clock.Add(12_500)
	if due, err := b.Store.Due(bg, b.Now()); !due || err != nil {
		t.Errorf("due %v, %v", due, err)
	}
	if err := b.Purge(bg, b.Now(), 100); err != nil {
		t.Fatal(err)
	}
	left, err := b.Store.Documents(bg, ledger.DocCode, "", 10)
	if err != nil || len(left) != 3 {
		t.Errorf("left %v, %v", left, err)
	}
	b.Verify(t)
}

// testFailures fails each step of a commit in turn, and then all at random: what
// was reported as done is there, what was reported as refused is not, and the
// store proves itself.
func testFailures(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	boom := errors.New("boom")
	for k := 0; ; k++ {
		n, failed := 0, ""
		fail := func(step string) error {
			n++
			if n-1 == k {
				failed = step
				return boom
			}
			return nil
		}
		_, e := b.Token(nil)
		b.Fail.Store(&fail)
		_, err := b.Append(bg, ledger.Batch{Events: []mintmark.Event{e}, Row: b.Row(nil)})
		b.Fail.Store(nil)
		if failed == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("step %d (%s) failed: %v", k, failed, err)
		}
		_, e2 := b.Token(nil)
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e2}})
		_, err = b.Store.TokenByID(bg, e.Token)
		if there := err == nil; there != (failed == "committed") {
			t.Errorf("after %s failed: %v", failed, err)
		}
	}
	b.Verify(t)
}

// allowed are scans that read no table.
var allowed = []string{"VALUES CLAUSE", "SCAN (subquery", "SCAN CONSTANT ROW"}

func testPlans(t *testing.T, open Open) {
	store := open(t, t.TempDir())
	defer store.Close()
	for _, name := range store.QueryNames() {
		steps, err := store.Explain(bg, name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, s := range steps {
			scan := strings.HasPrefix(s, "SCAN ")
			for _, a := range allowed {
				scan = scan && !strings.Contains(s+" ", a)
			}
			if scan || strings.Contains(s, "AUTOMATIC") {
				t.Errorf("%s: %s\n\t%s", name, s, strings.Join(steps, "\n\t"))
			}
		}
	}
}
