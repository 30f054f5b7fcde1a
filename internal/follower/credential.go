package follower

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
)

// Credential is the gateway's own key on the bus, and the one to follow it; its
// keys are named by their public NKEY. bus.CredentialRequest says how one is
// replaced. Methods are called by one goroutine.
type Credential interface {
	// Begun reports whether there is a key to follow the one in use: somebody died
	// while it was being replaced.
	Begun() bool
	// Next returns the key in use and the one to follow it: made, and durable beside
	// the other, when there was none. Both stay until Settle.
	Next(ctx context.Context) (use, next string, err error)
	// Sign returns an Ed25519 signature by one of the two.
	Sign(public string, message []byte) ([]byte, error)
	// Switch connects anew with one of the two, and returns once connected so.
	Switch(ctx context.Context, public string) error
	// Settle forgets the key in use for the one to follow it, durably.
	Settle(ctx context.Context) error
}

// errCredential is control's refusal.
var errCredential = errors.New("control refuses to replace the credential")

// defaultCredentialPause is the least time between attempts to replace the
// credential, for which there is half a lifetime; after failures it is longer.
const defaultCredentialPause = 5 * time.Second

// credentials replaces the credential whenever control says that it is time.
func (f *Follower) credentials(ctx context.Context) {
	first := f.cfg.CredentialPause
	pause := first
	if f.cfg.Credential.Begun() {
		// Control may think it done and would not say so before half a lifetime.
		signal(f.expiring)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.expiring:
		}
		err := f.replaceCredential(ctx)
		switch {
		case err == nil:
			pause = first
			f.cfg.Log.Info("credential replaced")
		case ctx.Err() == nil:
			f.cfg.Log.Warn("credential not replaced; the present one is good for some time yet", "error", err)
			pause = min(2*pause, 60*first)
			// Again in any case: control may have taken the step and think it done.
			signal(f.expiring)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// replaceCredential takes all steps, which are harmless when they were taken
// before: dying, or failing, between any two is made good by beginning again.
func (f *Follower) replaceCredential(ctx context.Context) error {
	use, next, err := f.cfg.Credential.Next(ctx)
	if err != nil {
		return err
	}
	if err := f.askCredential(ctx, use, next, false); err != nil {
		return err
	}
	there, cancel := context.WithTimeout(ctx, 4*f.cfg.Wait)
	defer cancel()
	if err := f.cfg.Credential.Switch(there, next); err != nil {
		return err
	}
	if err := f.askCredential(ctx, use, next, true); err != nil {
		return err
	}
	// Control knows the new key alone. Dying here comes back with both, of which it
	// refuses the old one.
	return f.cfg.Credential.Settle(ctx)
}

// askCredential asks for one step.
func (f *Follower) askCredential(ctx context.Context, use, next string, confirm bool) error {
	q := bus.CredentialRequest{V: bus.Version, Gateway: f.cfg.Gateway, Old: use, New: next, Confirm: confirm}
	sign := func(key string) (string, error) {
		sig, err := f.cfg.Credential.Sign(key, q.Message())
		return base64.RawURLEncoding.EncodeToString(sig), err
	}
	var err error
	if q.NewSig, err = sign(next); err != nil {
		return err
	}
	if !confirm {
		if q.OldSig, err = sign(use); err != nil {
			return err
		}
	}
	a, err := ask[bus.CredentialReply](ctx, f, f.cfg.Wait, bus.SubjectCredential, q)
	if err == nil {
		err = unknown("replace the credential", a.Error)
	}
	if err == nil && !a.OK {
		err = fmt.Errorf("%w: %.200s", errCredential, a.Reason)
	}
	return err
}
