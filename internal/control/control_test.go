package control_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

const op = "user:op"

func apply(t *testing.T, w *controltest.World, text string) *api.ApplyAnswer {
	t.Helper()
	a, err := w.Control.Apply(t.Context(), op, api.ApplyRequest{Files: []api.File{{Name: "shop.yaml", Text: text}}, Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApply(t *testing.T) {
	w := controltest.New(t)
	dry, err := w.Control.Apply(t.Context(), op, api.ApplyRequest{Files: []api.File{{Text: controltest.Shop}}, DryRun: true})
	if err != nil || len(dry.Changes) != 6 || w.Fleet.Current().Epoch != dry.Epoch {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	a := apply(t, w, controltest.Shop)
	if a.Receipt == nil || a.Receipt.Outcome != mintmark.OutcomeEffective || a.Secrets["web"] == "" {
		t.Fatalf("apply: %+v", a)
	}
	svc := w.Fleet.Current().Table.Service("shop")
	if svc == nil || svc.Split.Stable != "v1" || len(svc.Releases) != 2 {
		t.Fatalf("service in force: %+v", svc)
	}
	if again := apply(t, w, controltest.Shop); len(again.Changes) != 0 || again.Epoch != a.Epoch {
		t.Errorf("applied again: %+v, want no change", again)
	}
	export, err := w.Control.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if same := apply(t, w, export.YAML); len(same.Changes) != 0 {
		t.Errorf("export applied: %+v, want no change", same.Changes)
	}
	changed := apply(t, w, strings.Replace(controltest.Shop, "scopes: [shop:read, shop:write]", "scopes: [shop:read]", 1))
	if len(changed.Changes) != 1 || changed.Changes[0].Fields[0].Path != "scopes" {
		t.Errorf("changed: %+v", changed.Changes)
	}
	if v := w.Fleet.Current().Table.Release("shop/v1").Mint.Version; v != 2 {
		t.Errorf("policy version %d, want 2", v)
	}
	// A set that is not whole is refused whole.
	_, err = w.Control.Apply(t.Context(), op, api.ApplyRequest{Files: []api.File{{Name: "x.yaml", Text: "apiVersion: mintmark/v1\nkind: Release\nname: shop/v3\npolicy: nope\nupstreams: [{url: http://h}]\n"}}})
	var errs policy.Errors
	if !errors.As(err, &errs) || errs[0].Line != 4 {
		t.Errorf("dangling reference: %v", err)
	}
}

func TestRollback(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	plan, err := w.Control.Plan(t.Context(), "shop", "v2")
	if err != nil || !plan.Safe {
		t.Fatalf("plan: %+v, %v", plan, err)
	}
	started, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Weight: "5"})
	if err != nil || !started.Rollout.Staged || started.Rollout.Percent != "5" {
		t.Fatalf("start: %+v, %v", started, err)
	}
	id := string(started.Rollout.ID)
	if _, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2"}); !errors.Is(err, rollout.ErrIllegal) {
		t.Errorf("second start: %v", err)
	}
	good := w.Issue("shop/v2")
	bad := w.Issue("shop/v2", func(k *mintmark.Token) { k.Scopes = []string{"shop:admin", "shop:read"} })
	// A change of the service meanwhile must not be undone by the rollback.
	apply(t, w, strings.Replace(controltest.Shop, "path: /*", "path: /shop/*", 1))
	done, err := w.Control.StepRollout(t.Context(), op, nil, id, rollout.VerbRollback, api.StepRequest{Reason: "over-scoped", Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	if done.Receipt == nil || done.Receipt.Outcome != mintmark.OutcomeEffective || done.Receipt.Kind != "rollback" || done.Receipt.Release != "shop/v2" || done.Receipt.Tokens != 2 {
		t.Fatalf("receipt: %+v", done.Receipt)
	}
	want := map[string]int64{rollout.OverScoped: 1, rollout.WrongAudience: 0, string(rollout.Native): 1}
	for _, d := range done.Receipt.Dispositions {
		if d.Tokens != want[d.Class] {
			t.Errorf("class %s: %d tokens, want %d", d.Class, d.Tokens, want[d.Class])
		}
	}
	svc := w.Fleet.Current().Table.Service("shop")
	if svc.Split.Candidate != "" || svc.Split.Rollout != "" || svc.Routes[0].Path != "/shop/*" || len(svc.Retired) != 1 {
		t.Errorf("part in force: %+v", svc.Service)
	}
	for id, live := range map[mintmark.TokenID]bool{good: true, bad: false} {
		got, err := w.Control.Token(t.Context(), id)
		if err != nil || got.State.Live() != live {
			t.Errorf("token %s: %+v, %v; want live %v", id, got, err, live)
		}
	}
	// Again: the same answer, no new row.
	head := w.Fleet.Current().Seq
	again, err := w.Control.StepRollout(t.Context(), "user:other", nil, "shop", rollout.VerbRollback, api.StepRequest{Wait: true})
	if err != nil || again.Receipt == nil || again.Receipt.ID != done.Receipt.ID || w.Fleet.Current().Seq != head {
		t.Errorf("rolled back twice: %+v, %v", again, err)
	}
	// The release comes back: new tokens are not concerned, old ones still are.
	if _, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Weight: "1"}); err != nil {
		t.Fatal(err)
	}
	fresh := w.Issue("shop/v2", func(k *mintmark.Token) { k.Scopes = []string{"shop:admin", "shop:read"} })
	if got, err := w.Control.Token(t.Context(), fresh); err != nil || !got.State.Live() || got.Disposition == "revoke" {
		t.Errorf("token minted after the return: %+v, %v", got, err)
	}
	if got, err := w.Control.Token(t.Context(), bad); err != nil || got.State.Live() {
		t.Errorf("token revoked before the return: %+v, %v", got, err)
	}
}

func TestPromote(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	r, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2"})
	if err != nil {
		t.Fatal(err)
	}
	id := string(r.Rollout.ID)
	for _, verb := range []rollout.Verb{rollout.VerbPromote, rollout.VerbPromote, rollout.VerbFinalise} {
		if r, err = w.Control.StepRollout(t.Context(), op, nil, id, verb, api.StepRequest{}); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	if svc := w.Fleet.Current().Table.Service("shop"); svc.Split.Stable != "v2" || svc.Split.Candidate != "" || r.Rollout.State != string(rollout.Finalised) {
		t.Errorf("after finalise: %+v", svc.Split)
	}
	if _, err := w.Control.StepRollout(t.Context(), op, nil, id, rollout.VerbRollback, api.StepRequest{}); !errors.Is(err, rollout.ErrIllegal) {
		t.Errorf("rollback of a finalised rollout: %v", err)
	}
}

// Operators who press the button at once all get the same receipt.
func TestConcurrentRollback(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	r, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Weight: "10"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var errs [4]error
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = w.Control.StepRollout(context.Background(), op, nil, string(r.Rollout.ID), rollout.VerbRollback, api.StepRequest{Wait: true})
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	rollbacks := 0
	all, err := w.Control.Receipts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all.Receipts {
		if x.Kind == "rollback" {
			rollbacks++
		}
	}
	if rollbacks != 1 {
		t.Errorf("%d rollbacks committed, want 1", rollbacks)
	}
}

func TestRevoke(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	id := w.Issue("shop/v1")
	other := w.Issue("shop/v1", func(k *mintmark.Token) { k.Subject = "bob" })
	revoke := func(r api.RevokeRequest) (*api.RevokeAnswer, error) {
		r.Reason, r.Wait = "test", true
		return w.Control.Revoke(t.Context(), op, r)
	}
	state := func(id mintmark.TokenID) mintmark.TokenState {
		got, err := w.Control.Token(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return got.State
	}
	if a, err := revoke(api.RevokeRequest{Selector: "release=shop/v1", DryRun: true}); err != nil || a.Tokens != 2 || len(a.Sample) != 2 || !state(id).Live() {
		t.Fatalf("dry run: %+v, %v", a, err)
	}
	var confirm *control.ConfirmError
	if _, err := revoke(api.RevokeRequest{Selector: "release=shop/v1"}); !errors.As(err, &confirm) || confirm.Tokens != 2 {
		t.Errorf("broad without confirmation: %v", err)
	}
	a, err := revoke(api.RevokeRequest{Selector: "subject=ada", Action: "suspend"})
	if err != nil || a.Receipt.Outcome != mintmark.OutcomeEffective || a.Receipt.Tokens != 1 || state(id) != mintmark.StateSuspended || !state(other).Live() {
		t.Fatalf("suspend: %+v, %v", a, err)
	}
	if r, err := w.Control.Restore(t.Context(), op, api.RestoreRequest{Selector: "subject=ada", Wait: true}); err != nil || !state(id).Live() {
		t.Fatalf("restore: %+v, %v", r, err)
	}
	if _, err := revoke(api.RevokeRequest{Selector: "token=" + string(id)}); err != nil || state(id) != mintmark.StateRevoked {
		t.Fatalf("revoke one: %v, %v", err, state(id))
	}
	if _, err := w.Control.Restore(t.Context(), op, api.RestoreRequest{Selector: "token=" + string(id)}); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("restore of a revocation for good: %v", err)
	}
	if _, err := revoke(api.RevokeRequest{Selector: confirm.Text, Confirm: confirm.Text}); err != nil || state(other) != mintmark.StateRevoked {
		t.Errorf("broad, confirmed: %v", err)
	}
	if page, err := w.Control.Revocations(t.Context(), api.RevocationQuery{Limit: 1}); err != nil || len(page.Revocations) != 1 || page.Next == "" {
		t.Errorf("first page: %+v", page)
	}
}

func TestOnce(t *testing.T) {
	w := controltest.New(t)
	n := 0
	do := func(context.Context) (*api.Gateways, error) { n++; return &api.Gateways{Head: uint64(n)}, nil }
	for range 3 {
		got, err := control.Once(t.Context(), w.Control, op, "key", "op", "body", do)
		if err != nil || got.Head != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := control.Once(t.Context(), w.Control, op, "key", "op", "another", do); !errors.Is(err, control.ErrConflict) {
		t.Errorf("key for another request: %v", err)
	}
	if _, err := control.Once(t.Context(), w.Control, "user:other", "key", "op", "body", do); err != nil || n != 2 {
		t.Errorf("another actor's key: %v, %d", err, n)
	}
}

// A deed that became durable but was never answered is answered from its receipt
// when it is asked for again under its key, and not done again.
func TestOnceAfterDeath(t *testing.T) {
	w := controltest.New(t)
	died := errors.New("died before the answer was stored")
	r := api.RevokeRequest{Selector: "subject=ada", Action: "suspend", Reason: "test", Wait: true}
	var first mintmark.ReceiptID
	_, err := control.Once(t.Context(), w.Control, op, "key", "revoke", r, func(ctx context.Context) (*api.RevokeAnswer, error) {
		a, err := w.Control.Revoke(ctx, op, r)
		if err == nil {
			first, err = a.Receipt.ID, died
		}
		return nil, err
	})
	if !errors.Is(err, died) || first == "" {
		t.Fatalf("first run: %v", err)
	}
	a, err := control.Once(t.Context(), w.Control, op, "key", "revoke", r, func(ctx context.Context) (*api.RevokeAnswer, error) {
		return w.Control.Revoke(ctx, op, r)
	})
	if err != nil || a.Receipt.ID != first || a.Receipt.Outcome != mintmark.OutcomeEffective || a.Selector != r.Selector {
		t.Fatalf("asked again: %+v, %v; first receipt %s", a, err, first)
	}
	if page, err := w.Control.Revocations(t.Context(), api.RevocationQuery{Limit: 10}); err != nil || len(page.Revocations) != 1 {
		t.Errorf("suspensions in force: %+v, %v; want 1", page, err)
	}
}
