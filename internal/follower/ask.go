package follower

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
)

// ask sends one question to control and reads the answer.
func ask[A, Q any](ctx context.Context, f *Follower, wait time.Duration, subject string, q Q) (A, error) {
	var a A
	data, err := bus.Encode(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := f.cfg.Bus.Request(ctx, subject+string(f.cfg.Gateway), data)
	if err == nil {
		err = bus.Decode(answer, &a)
	}
	return a, err
}

// unknown makes an error of an answer that says control does not know.
func unknown(what, text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("%s: %w: %.200s", what, ErrBehind, text)
}

// Pull asks about a token. An error means that the state is unknown.
func (f *Follower) Pull(ctx context.Context, q bus.PullRequest) (bus.PullReply, error) {
	q.V = bus.Version
	a, err := ask[bus.PullReply](ctx, f, f.cfg.Wait, bus.SubjectPull, q)
	if err == nil {
		err = unknown("ask about a token", a.Error)
	}
	return a, err
}

// Reissue asks for an internal token of the wanted shape.
func (f *Follower) Reissue(ctx context.Context, q bus.ReissueRequest) (bus.ReissueReply, error) {
	q.V = bus.Version
	a, err := ask[bus.ReissueReply](ctx, f, f.cfg.Wait, bus.SubjectReissue, q)
	if err == nil {
		err = unknown("reissue a token", a.Error)
	}
	return a, err
}

// RefreshKey reports an unknown key of a foreign issuer, and returns once
// control's answer is applied: when the key is then still missing it does not
// exist. An error means that this is not known.
func (f *Follower) RefreshKey(ctx context.Context, q bus.KeyRequest) (bus.KeyReply, error) {
	q.V = bus.Version
	a, err := ask[bus.KeyReply](ctx, f, f.cfg.Wait, bus.SubjectKeys, q)
	if err == nil {
		err = unknown("refresh an issuer's keys", a.Error)
	}
	if err == nil && a.AsOf > 0 {
		err = f.CatchUp(ctx, a.AsOf)
	}
	return a, err
}

// Once sets a single-use mark for all gateways and says whether it was set before.
func (f *Follower) Once(ctx context.Context, q bus.OnceRequest) (bus.OnceReply, error) {
	q.V = bus.Version
	a, err := ask[bus.OnceReply](ctx, f, f.cfg.Wait, bus.SubjectOnce, q)
	if err == nil {
		err = unknown("set a single-use mark", a.Error)
	}
	return a, err
}
