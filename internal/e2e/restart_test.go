package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
)

// killAll kills every process at once and starts them again.
func (w *world) killAll() {
	w.t.Helper()
	var wg sync.WaitGroup
	for _, p := range w.Processes() {
		wg.Go(p.Kill)
	}
	wg.Wait()
	if err := w.verify(); err != nil {
		w.t.Error(err)
	}
	for _, p := range w.Processes() {
		w.restart(p)
	}
	w.caughtUp()
}

// keeper is a user of the vault.
func (w *world) keeper() demo.Person {
	w.t.Helper()
	p := demo.Person{Name: "keeper", Password: newKey()}
	admin, err := w.Admin(w.ctx)
	must(w.t, err)
	_, err = admin.PutUser(w.ctx, api.UserRequest{User: api.User{Name: p.Name}, Password: p.Password})
	must(w.t, err)
	return p
}

func (w *world) signIn(p demo.Person) demo.Tokens {
	w.t.Helper()
	tok, err := w.vault.Person(w.ctx, vaultWeb, vaultRedirect, vaultScope, p)
	must(w.t, err)
	return tok
}

// RB01: revoked tokens became valid again by a full restart. Every kind of token,
// by every selector that names it.
func TestRB01RevokedStaysRevokedOverRestart(t *testing.T) {
	w := newWorld(t, worldOptions{Clients: 8})
	keeper := w.keeper()
	admin, err := w.Admin(w.ctx)
	must(t, err)
	var gone, stay []fact
	take := func(token, selector string) {
		t.Helper()
		w.everywhere("before: "+selector, token, "")
		a, err := w.revoke(selector, "")
		must(t, err)
		if !effective(a.Receipt) {
			t.Fatalf("revoke %s: %+v", selector, a.Receipt)
		}
		gone = append(gone, fact{"revoked by " + selector, token, string(mintmark.CodeRevoked)})
	}
	for i, selector := range []func(token string) string{
		func(token string) string { return "token=" + claim(t, token, "jti") },
		func(token string) string { return "subject=" + claim(t, token, "sub") },
		func(token string) string { return "client=" + claim(t, token, "client_id") },
		func(token string) string {
			return "client=" + claim(t, token, "client_id") + ",release=vault/v1,scope=" + vaultScope
		},
		func(token string) string {
			return "subject=" + claim(t, token, "sub") + ",issued<=" + time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		},
	} {
		token := w.mint(i).Access
		take(token, selector(token))
	}
	for _, member := range []string{"fam", "grt"} {
		tok := w.signIn(keeper)
		name := map[string]string{"fam": "family=", "grt": "grant="}[member]
		take(tok.Access, name+claim(t, tok.Access, "mintmark", member))
	}
	key := func(owner string) *api.Issued {
		k, err := admin.CreateAPIKey(w.ctx, api.APIKeyRequest{
			Name: owner, Owner: owner, Client: vaultWeb, Scopes: []string{vaultScope}, Audience: []string{vaultAudience},
		})
		must(t, err)
		return k
	}
	lost, kept := key("lost"), key("kept")
	take(lost.Value, "token="+string(lost.Token.ID))
	stay = append(stay, fact{"API key of another", kept.Value, ""}, fact{"token of another client", w.mint(6).Access, ""}, fact{"signed in later", w.signIn(keeper).Access, ""})

	// Suspended before, restored after.
	held := w.mint(7).Access
	a, err := w.revoke("subject="+claim(t, held, "sub"), "suspend")
	must(t, err)
	gone = append(gone, fact{"suspended", held, string(mintmark.CodeSuspended)})

	for range 2 {
		w.killAll()
		for _, f := range append(gone, stay...) {
			w.everywhere(f.what, f.token, f.code)
		}
	}
	must(t, w.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		_, err := c.Restore(ctx, api.RestoreRequest{ID: a.Receipt.Revocations[0].ID, Reason: "test", Wait: true, Timeout: "40s"})
		return err
	}))
	w.everywhere("restored", held, "")
	w.killAll()
	w.everywhere("restored", held, "")
}

// RB02: after a restart rotated refresh tokens were accepted again. Re-use ends
// the family, and nothing else.
func TestRB02RotatedRefreshTokenAfterRestart(t *testing.T) {
	w := newWorld(t, worldOptions{})
	keeper := w.keeper()
	other := w.signIn(keeper)
	first := w.signIn(keeper)
	second, err := w.vault.Refresh(w.ctx, vaultWeb, first.Refresh)
	must(t, err)
	rotated := time.Now()
	w.Control.Kill()
	must(t, w.verify())
	w.restart(w.Control)
	time.Sleep(time.Until(rotated.Add(1100 * time.Millisecond))) // the policy's grace
	var refused *demo.Refused
	if tok, err := w.vault.Refresh(w.ctx, vaultWeb, first.Refresh); !errors.As(err, &refused) || refused.Code != "invalid_grant" {
		t.Fatalf("a rotated refresh token after a restart: %+v, %v", tok, err)
	}
	w.killAll()
	if tok, err := w.vault.Refresh(w.ctx, vaultWeb, second.Refresh); !errors.As(err, &refused) || refused.Code != "invalid_grant" {
		t.Errorf("its successor after the re-use: %+v, %v", tok, err)
	}
	w.everywhere("the family's first access token", first.Access, string(mintmark.CodeRevoked))
	w.everywhere("the family's second access token", second.Access, string(mintmark.CodeRevoked))
	w.everywhere("an access token of another family", other.Access, "")
	if _, err := w.vault.Refresh(w.ctx, vaultWeb, other.Refresh); err != nil {
		t.Errorf("another family of the same user: %v", err)
	}
}

// RB14: a revocation that can't be delivered stays pending and visible for as long
// as it takes, over restarts, and completes by itself.
func TestRB14RevocationWaitsForAGateway(t *testing.T) {
	w := newWorld(t, worldOptions{})
	tok := w.mint(0).Access
	away := w.Gateways[1]
	away.Kill()
	out, exit := w.cli("token", "revoke", claim(t, tok, "jti"), "--reason", "leaked", "--timeout", "1s")
	var a api.RevokeAnswer
	if err := json.Unmarshal(out, &a); err != nil || exit != api.ExitPending || a.Receipt == nil || a.Receipt.Outcome != mintmark.OutcomePending {
		t.Fatalf("with a gateway away: exit %d, %v, %s", exit, err, out)
	}
	id := a.Receipt.ID
	outcome := func() (r *mintmark.Receipt, err error) {
		err = w.insist("", func(ctx context.Context, c *api.Client) error { r, err = c.Receipt(ctx, id); return err })
		return r, err
	}
	for range 3 {
		w.Control.Kill()
		must(t, w.verify())
		w.restart(w.Control)
		if r, err := outcome(); err != nil || r.Outcome != mintmark.OutcomePending {
			t.Fatalf("after a restart the receipt says %+v, %v", r, err)
		}
		if err := w.settled(0, tok, string(mintmark.CodeRevoked)); err != nil {
			t.Errorf("at the gateway that is there: %v", err)
		}
	}
	w.restart(away)
	w.everywhere("revoked while it was away", tok, string(mintmark.CodeRevoked))
	w.eventually(20*time.Second, "the receipt to complete by itself", func() error {
		r, err := outcome()
		if err == nil && !effective(r) {
			err = fmt.Errorf("it says %+v", r)
		}
		return err
	})
}
