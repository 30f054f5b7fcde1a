package federation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
)

// RefreshKeys answers a gateway that met an unknown kid: once the answer's AsOf
// is applied and the key is still missing, the token may be refused.
func (f *Federation) RefreshKeys(ctx context.Context, q bus.KeyRequest) bus.KeyReply {
	if err := f.Refresh(ctx, q.Issuer, q.KeyID); err != nil {
		return bus.KeyReply{V: q.V, AsOf: f.c.Head(), Error: "the issuer's keys could not be refreshed"}
	}
	return bus.KeyReply{V: q.V, AsOf: f.c.Head()}
}

// Refresh makes sure that an unknown kid is unknown to the issuer as well: it
// fetches the keys, unless that was done within the Cooldown or the kid is known
// to be missing, and publishes a change. Calls for one issuer are collapsed.
func (f *Federation) Refresh(ctx context.Context, name, kid string) error {
	s := f.source(name)
	if s == nil {
		return ErrUnknownIssuer
	}
	call, err := s.want(f.c.Now(), kid)
	if err != nil {
		return err
	}
	if call == nil {
		// Nothing to fetch; but what was fetched may not be published yet.
		return f.publish(ctx)
	}
	if call.mine && !f.spawn(ctx, func(ctx context.Context) {
		call.err = f.load(ctx, s)
		s.finish(call.flight)
	}) {
		call.err = errEnded
		s.finish(call.flight)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case <-call.done:
	}
	if call.err != nil {
		return call.err
	}
	s.missed(f.c.Now(), kid)
	return f.publish(ctx)
}

// fetch is Run's way in: collapsed with Refresh's.
func (f *Federation) fetch(ctx context.Context, s *source) error {
	flight := s.begin(f.c.Now())
	if flight == nil {
		return nil
	}
	fetching, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	flight.err = f.load(fetching, s)
	s.finish(flight)
	f.signal()
	return flight.err
}

// load fetches and takes over an issuer's keys.
func (f *Federation) load(ctx context.Context, s *source) error {
	keys, ttl, err := f.download(ctx, &s.issuer)
	now := f.c.Now()
	if err == nil {
		err = s.take(now, keys, ttl)
	}
	if err != nil {
		s.failed(now)
		if ctx.Err() == nil || !errors.Is(ctx.Err(), context.Canceled) {
			f.c.Log.WarnContext(ctx, "keys of an issuer were not refreshed; the last good ones stay", "issuer", s.issuer.Part.Name, "error", err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func epochKeys(set jose.Set, algs []string) []epoch.Key {
	var keys []epoch.Key
	for _, k := range set.Keys {
		if len(algs) > 0 && !slices.Contains(algs, k.Alg().String()) {
			continue
		}
		keys = append(keys, epoch.Key{ID: k.ID(), Alg: k.Alg().String(), JWK: k.JWK(), State: "active"})
	}
	slices.SortFunc(keys, func(a, b epoch.Key) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return keys
}
