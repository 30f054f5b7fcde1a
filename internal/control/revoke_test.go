package control_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

const second = "user:second"

func guard(t *testing.T, w *controltest.World, fields string) {
	t.Helper()
	apply(t, w, "apiVersion: mintmark/v1\nkind: Guard\nname: guard\n"+fields)
}

func live(t *testing.T, w *controltest.World, id mintmark.TokenID) bool {
	t.Helper()
	k, err := w.Control.Token(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return k.State.Live()
}

func TestDryRun(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	for range 12 {
		w.Issue("shop/v1")
	}
	for range 3 {
		w.Issue("shop/v2", func(k *mintmark.Token) { k.Client = "app" })
	}
	w.Issue("shop/v2", func(k *mintmark.Token) { k.Subject = "bob" })
	head := w.Fleet.Current().Seq
	a, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "subject=ada", DryRun: true, For: "12000h"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Tokens != 15 || len(a.Sample) != 10 || a.Confirm != "" || a.SecondPerson != "" || a.Receipt != nil || a.Forgotten.IsZero() || w.Fleet.Current().Seq != head {
		t.Errorf("dry run: %+v", a)
	}
	want := []api.ReachedCount{{Release: "shop/v1", Tokens: 12}, {Release: "shop/v2", Tokens: 3}}
	if len(a.ByRelease) != 2 || a.ByRelease[0] != want[0] || a.ByRelease[1] != want[1] {
		t.Errorf("by release: %+v", a.ByRelease)
	}
	if len(a.ByClient) != 2 || a.ByClient[0] != (api.ReachedCount{Client: "web", Tokens: 12}) {
		t.Errorf("by client: %+v", a.ByClient)
	}
}

// Every selector counts what it takes, and takes what it counts.
func TestEverySelector(t *testing.T) {
	for _, text := range []string{
		"token=ID", "family=fam_a", "grant=grt_a", "subject=eve", "client=app", "issuer=https://auth.example", "key=k9", "release=shop/v2",
		"scope=shop:write", "audience=https://other.example", "issued>=2020-01-01T00:00:00Z", "issued>=2020-01-01T00:00:00Z,issued<=2100-01-01T00:00:00Z",
		"client=app,scope=shop:write,release=shop/v2,subject=eve", "subject=eve,issued<=2020-01-01T00:00:00Z",
	} {
		t.Run(text, func(t *testing.T) {
			w := controltest.New(t)
			apply(t, w, controltest.Shop)
			hit := w.Issue("shop/v2", func(k *mintmark.Token) {
				k.Family, k.Grant, k.Subject, k.Client, k.Mark.Key = "fam_a", "grt_a", "eve", "app", "k9"
				k.Scopes, k.Audience = []string{"shop:write"}, []string{"https://other.example"}
			})
			w.Issue("shop/v1")
			text = strings.Replace(text, "ID", string(hit), 1)
			q := api.RevokeRequest{Selector: text, Reason: "test", DryRun: true}
			dry, err := w.Control.Revoke(t.Context(), op, q)
			if err != nil {
				t.Fatal(err)
			}
			q.DryRun, q.Confirm, q.Wait = false, dry.Confirm, true
			done, err := w.Control.Revoke(t.Context(), op, q)
			if err != nil || done.Receipt == nil || done.Receipt.Outcome != mintmark.OutcomeEffective || done.Receipt.Tokens != dry.Tokens {
				t.Fatalf("%+v, %v; dry run counted %d", done, err, dry.Tokens)
			}
			all, err := w.Control.Tokens(t.Context(), api.TokenQuery{States: []string{"all"}})
			if err != nil {
				t.Fatal(err)
			}
			refused := int64(0)
			for _, k := range all.Tokens {
				if !k.State.Live() {
					refused++
				}
			}
			if refused != dry.Tokens {
				t.Errorf("%d refused, dry run counted %d", refused, dry.Tokens)
			}
			id := done.Receipt.Revocations[0].ID
			d, err := w.Control.Revocation(t.Context(), id)
			if err != nil || d.Revocation == nil || d.Revocation.Selector.String() != dry.Selector {
				t.Errorf("get: %+v, %v", d, err)
			}
		})
	}
}

func TestAtMost(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	id := w.Issue("shop/v1")
	w.Issue("shop/v1")
	q := api.RevokeRequest{Selector: "subject=ada", Reason: "r", AtMost: 1}
	if _, err := w.Control.Revoke(t.Context(), op, q); !errors.Is(err, control.ErrTooMany) || !live(t, w, id) {
		t.Errorf("two tokens, one at most: %v", err)
	}
	q.AtMost = 2
	if _, err := w.Control.Revoke(t.Context(), op, q); err != nil || live(t, w, id) {
		t.Errorf("two tokens, two at most: %v", err)
	}
}

func TestSecondPerson(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	guard(t, w, "second_person: broad\ncap: 1\ncapped: ['client:*']\n")
	id := w.Issue("shop/v2")
	w.Issue("shop/v2")
	q := api.RevokeRequest{Selector: "release=shop/v2", Reason: "over-scoped", Confirm: "release=shop/v2"}
	dry := q
	dry.DryRun = true
	if a, err := w.Control.Revoke(t.Context(), op, dry); err != nil || !strings.Contains(a.SecondPerson, "second person") {
		t.Errorf("dry run: %+v, %v", a, err)
	}
	a, err := w.Control.Revoke(t.Context(), op, q)
	if err != nil || a.Receipt != nil || a.Pending == nil || a.Pending.Tokens != 2 || !live(t, w, id) {
		t.Fatalf("asked for: %+v, %v", a, err)
	}
	p := a.Pending
	yes := api.DecideRequest{Confirm: "release=shop/v2", Wait: true}
	for actor, want := range map[string]error{op: control.ErrForbidden, "client:bot": control.ErrForbidden} {
		if _, err := w.Control.Approve(t.Context(), actor, p.ID, yes); !errors.Is(err, want) {
			t.Errorf("approved by %s: %v", actor, err)
		}
	}
	var confirm *control.ConfirmError
	if _, err := w.Control.Approve(t.Context(), second, p.ID, api.DecideRequest{}); !errors.As(err, &confirm) || confirm.Tokens != 2 {
		t.Errorf("approved unread: %v", err)
	}
	if _, err := w.Control.Approve(t.Context(), second, "rev_none", yes); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	done, err := w.Control.Approve(t.Context(), second, p.ID, yes)
	if err != nil || live(t, w, id) {
		t.Fatal(err)
	}
	r := done.Receipt
	if r.Actor != op || r.Approver != second || r.Outcome != mintmark.OutcomeEffective || r.Revocations[0].ID != p.ID || r.Tokens != 2 || r.BreakGlass {
		t.Errorf("receipt: %+v", r)
	}
	again, err := w.Control.Approve(t.Context(), second, p.ID, yes)
	if err != nil || again.Receipt.ID != r.ID {
		t.Errorf("said twice: %+v, %v", again, err)
	}
	if _, err := w.Control.Deny(t.Context(), "user:third", p.ID, api.DecideRequest{Reason: "late"}); !errors.Is(err, control.ErrDecided) {
		t.Errorf("denied after: %v", err)
	}
	list, err := w.Control.PendingRevocations(t.Context())
	if err != nil || len(list.Pending) != 1 || list.Pending[0].State != api.PendingApproved || list.Pending[0].Approver != second || list.Pending[0].Receipt != r.ID {
		t.Errorf("list: %+v, %v", list, err)
	}
	d, err := w.Control.Revocation(t.Context(), p.ID)
	if err != nil || d.Revocation == nil || d.Pending == nil {
		t.Errorf("get: %+v, %v", d, err)
	}
	// A narrow selector is one person's business; a program's is capped.
	if a, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "subject=ada", Reason: "r"}); err != nil || a.Pending != nil {
		t.Errorf("narrow: %+v, %v", a, err)
	}
	x := w.Issue("shop/v1", func(k *mintmark.Token) { k.Subject = "bob" })
	if a, err := w.Control.Revoke(t.Context(), "client:bot", api.RevokeRequest{Selector: "subject=bob", Reason: "r"}); err != nil || a.Pending != nil || live(t, w, x) {
		t.Errorf("a program within its cap: %+v, %v", a, err)
	}
	w.Issue("shop/v1", func(k *mintmark.Token) { k.Subject = "cid" })
	w.Issue("shop/v1", func(k *mintmark.Token) { k.Subject = "cid" })
	if a, err := w.Control.Revoke(t.Context(), "client:bot", api.RevokeRequest{Selector: "subject=cid", Reason: "r"}); err != nil || a.Pending == nil {
		t.Errorf("a program beyond its cap: %+v, %v", a, err)
	}
}

func TestDenyAndExpire(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	guard(t, w, "second_person: always\napproval: 1s\n")
	id := w.Issue("shop/v1")
	ask := func() *api.PendingRevocation {
		a, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "token=" + string(id), Reason: "r"})
		if err != nil || a.Pending == nil {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Pending
	}
	p := ask()
	if _, err := w.Control.Deny(t.Context(), second, p.ID, api.DecideRequest{}); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("denied without a reason: %v", err)
	}
	if d, err := w.Control.Deny(t.Context(), second, p.ID, api.DecideRequest{Reason: "no need"}); err != nil || d.State != api.PendingDenied {
		t.Errorf("denied: %+v, %v", d, err)
	}
	if _, err := w.Control.Approve(t.Context(), "user:third", p.ID, api.DecideRequest{Confirm: p.Selector}); !errors.Is(err, control.ErrDecided) {
		t.Errorf("approved after it was denied: %v", err)
	}
	if d, err := w.Control.Deny(t.Context(), op, ask().ID, api.DecideRequest{Reason: "changed my mind"}); err != nil || d.State != api.PendingDenied {
		t.Errorf("taken back: %+v, %v", d, err)
	}
	p = ask()
	w.Later(2 * time.Second)
	if _, err := w.Control.Approve(t.Context(), second, p.ID, api.DecideRequest{Confirm: p.Selector}); !errors.Is(err, control.ErrDecided) {
		t.Errorf("approved too late: %v", err)
	}
	if list, _ := w.Control.PendingRevocations(t.Context()); list.Pending[0].State != api.PendingExpired {
		t.Errorf("list: %+v", list.Pending[0])
	}
	if !live(t, w, id) {
		t.Error("a revocation that nobody approved took effect")
	}
}

// Of many who approve at once one does; the others learn it.
func TestApproveRace(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	guard(t, w, "second_person: always\n")
	id := w.Issue("shop/v1")
	a, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "token=" + string(id), Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	head := w.Fleet.Current().Seq
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			actor := "user:" + string(rune('a'+i))
			_, err := w.Control.Approve(t.Context(), actor, a.Pending.ID, api.DecideRequest{Confirm: a.Pending.Selector})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, control.ErrConflict) && !errors.Is(err, control.ErrDecided):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || w.Fleet.Current().Seq != head+1 || live(t, w, id) {
		t.Errorf("%d approved, %d rows", won, w.Fleet.Current().Seq-head)
	}
}

func TestBreakGlass(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	guard(t, w, "second_person: always\n")
	id := w.Issue("shop/v1")
	q := api.RevokeRequest{Selector: "token=" + string(id), Reason: "the house burns", BreakGlass: true}
	if _, err := w.Control.Revoke(t.Context(), op, q); !errors.Is(err, control.ErrForbidden) || !live(t, w, id) {
		t.Errorf("the guard does not allow it: %v", err)
	}
	guard(t, w, "second_person: always\nbreak_glass: true\n")
	a, err := w.Control.Revoke(t.Context(), op, q)
	if err != nil || a.Receipt == nil || !a.Receipt.BreakGlass || live(t, w, id) {
		t.Errorf("%+v, %v", a, err)
	}
	// It is not claimed where nothing was broken.
	apply(t, w, "apiVersion: mintmark/v1\nkind: Guard\nname: guard\nbreak_glass: true\n")
	if a, err := w.Control.Revoke(t.Context(), op, q); err != nil || a.Receipt.BreakGlass {
		t.Errorf("without need: %+v, %v", a, err)
	}
}

// Killing a key and disabling a client are no way round the guard: the deed waits as
// the revocation does, and is done once the second person has approved.
func TestDeedsAreGuarded(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	guard(t, w, "second_person: broad\n")
	id := w.Issue("shop/v1")
	const sel = "release=shop/v1"
	q := api.RevokeRequest{Selector: sel, Confirm: sel, Reason: "leaked"}
	deeds := 0
	do := func(actor string, q api.RevokeRequest) (*api.RevokeAnswer, error) {
		return w.Control.Withdraw(t.Context(), actor, q, func() error { deeds++; return nil })
	}
	asked, err := do(op, q)
	if err != nil || asked.Pending == nil || asked.Receipt != nil || deeds != 0 || !live(t, w, id) {
		t.Fatalf("without a second person: %+v, %v, %d deeds", asked, err, deeds)
	}
	again, err := do(op, q)
	if err != nil || again.Pending == nil || again.Pending.ID != asked.Pending.ID || deeds != 0 {
		t.Fatalf("asked again while it waits: %+v, %v", again, err)
	}
	broken := q
	broken.BreakGlass = true
	if _, err := do(op, broken); !errors.Is(err, control.ErrForbidden) || deeds != 0 {
		t.Fatalf("broken where the guard does not allow it: %v, %d deeds", err, deeds)
	}
	if _, err := w.Control.Approve(t.Context(), "user:second", asked.Pending.ID, api.DecideRequest{Confirm: sel}); err != nil || live(t, w, id) {
		t.Fatalf("approved: %v", err)
	}
	// What was approved for one is not approved for another, nor for other tokens.
	if a, err := do("user:third", q); err != nil || a.Pending == nil || deeds != 0 {
		t.Fatalf("another person: %+v, %v, %d deeds", a, err, deeds)
	}
	other := api.RevokeRequest{Selector: "client=shop", Confirm: "client=shop", Reason: "leaked"}
	if a, err := do(op, other); err != nil || a.Pending == nil || deeds != 0 {
		t.Fatalf("another selector: %+v, %v, %d deeds", a, err, deeds)
	}
	done, err := do(op, q)
	if err != nil || done.Receipt == nil || done.Receipt.Approver != "user:second" || done.Receipt.BreakGlass || deeds != 1 {
		t.Fatalf("asked again after the approval: %+v, %v, %d deeds", done, err, deeds)
	}
	guard(t, w, "second_person: broad\nbreak_glass: true\n")
	if a, err := do("user:third", broken); err != nil || a.Receipt == nil || !a.Receipt.BreakGlass || deeds != 2 {
		t.Fatalf("broken: %+v, %v, %d deeds", a, err, deeds)
	}
}

func TestGuardIsForAdmins(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	text := "apiVersion: mintmark/v1\nkind: Guard\nname: g\nsecond_person: never\n"
	_, err := w.Control.Apply(control.Limited(t.Context()), op, api.ApplyRequest{Files: []api.File{{Text: text}}})
	if !errors.Is(err, control.ErrForbidden) {
		t.Errorf("an operator made a guard: %v", err)
	}
	apply(t, w, text)
	_, err = w.Control.Apply(t.Context(), op, api.ApplyRequest{Files: []api.File{{Text: strings.Replace(text, "name: g", "name: h", 1)}}})
	if err == nil || !strings.Contains(err.Error(), "Guard") {
		t.Errorf("two guards: %v", err)
	}
}

func TestSuspend(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	id, other := w.Issue("shop/v1"), w.Issue("shop/v1", func(k *mintmark.Token) { k.Subject = "bob" })
	a, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "subject=ada", Action: "suspend", Reason: "r", For: "60s"})
	if err != nil || a.Ends.IsZero() || live(t, w, id) || !live(t, w, other) {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: "token=" + string(other), Action: "suspend", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	dry, err := w.Control.Restore(t.Context(), op, api.RestoreRequest{Selector: "subject=ada", DryRun: true})
	if err != nil || dry.Tokens != 1 || !dry.DryRun || live(t, w, id) {
		t.Errorf("dry run of a restore: %+v, %v", dry, err)
	}
	if err := w.Control.EndSuspensions(t.Context()); err != nil || live(t, w, id) {
		t.Errorf("ended too soon: %v", err)
	}
	w.Later(61 * time.Second)
	if err := w.Control.EndSuspensions(t.Context()); err != nil || !live(t, w, id) {
		t.Errorf("did not end: %v", err)
	}
	if live(t, w, other) {
		t.Error("a suspension without an end ended")
	}
	rs, err := w.Control.Receipts(t.Context())
	if err != nil || rs.Receipts[0].Kind != "restore" || rs.Receipts[0].Actor != "system:control" {
		t.Errorf("receipt of the end: %+v, %v", rs.Receipts[0], err)
	}
}

// A fact may be forgotten only when nothing that it covers can be live.
func TestForget(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	id := w.Issue("shop/v1")
	key := w.Issue("shop/v1", func(k *mintmark.Token) { k.Kind, k.Expires, k.Subject = mintmark.KindAPIKey, 0, "robot" })
	w.Issue("shop/v1", func(k *mintmark.Token) { k.Kind, k.Expires, k.Subject = mintmark.KindAPIKey, 0, "robot" })
	fact := func(q api.RevokeRequest) (mintmark.Revocation, error) {
		q.Reason = "r"
		sel, _ := mintmark.ParseSelector(q.Selector)
		if sel.Broad() {
			q.Confirm = sel.String()
		}
		a, err := w.Control.Revoke(t.Context(), op, q)
		if err != nil {
			return mintmark.Revocation{}, err
		}
		return a.Receipt.Revocations[0], nil
	}
	// Longer than the token itself: what was exchanged from it may outlive it.
	if f, err := fact(api.RevokeRequest{Selector: "token=" + string(id)}); err != nil || f.Forget < time.Now().Add(30*24*time.Hour).Unix() || f.Forget > time.Now().Add(32*24*time.Hour).Unix() {
		t.Errorf("a token's: %+v, %v", f, err)
	}
	for _, forever := range []string{"token=" + string(key), "token=tok_unknown", "token=fgn_unknown", "subject=ada", "release=shop/v1", "key=k1"} {
		if f, err := fact(api.RevokeRequest{Selector: forever}); err != nil || f.Forget != 0 {
			t.Errorf("%s: %+v, %v", forever, f, err)
		}
	}
	month := time.Now().Add(30 * 24 * time.Hour).Unix()
	if f, err := fact(api.RevokeRequest{Selector: "family=fam_x"}); err != nil || f.Forget < month {
		t.Errorf("a family's: %+v, %v", f, err)
	}
	for _, q := range []api.RevokeRequest{
		{Selector: "subject=ada", For: "1h"},
		{Selector: "subject=robot", For: "80000h"},
		{Selector: "key=k1", For: "80000h"},
		{Selector: "issuer=https://other.example", For: "80000h"},
		{Selector: "subject=ada", For: "soon"},
		{Selector: "subject=ada", For: "-1h"},
	} {
		if f, err := fact(q); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%s for %s: %+v, %v", q.Selector, q.For, f, err)
		}
	}
	if f, err := fact(api.RevokeRequest{Selector: "subject=ada", For: "1000h"}); err != nil || f.Forget == 0 {
		t.Errorf("long enough: %+v, %v", f, err)
	}
}

func TestRevocationsCounted(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	w.Issue("shop/v1")
	w.Issue("shop/v1")
	for _, sel := range []string{"subject=ada", "subject=nobody"} {
		if _, err := w.Control.Revoke(t.Context(), op, api.RevokeRequest{Selector: sel, Reason: "r", Action: "suspend"}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := w.Control.Revocations(t.Context(), api.RevocationQuery{Counts: true, Limit: 1})
	if err != nil || len(page.Revocations) != 1 || page.Next == "" || page.Tokens[page.Revocations[0].ID] != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = w.Control.Revocations(t.Context(), api.RevocationQuery{Counts: true, After: page.Next})
	if err != nil || len(page.Revocations) != 1 || page.Next != "" || page.Tokens[page.Revocations[0].ID] != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := w.Control.Revocations(t.Context(), api.RevocationQuery{Counts: true, Limit: 51}); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("too many counts: %v", err)
	}
}
