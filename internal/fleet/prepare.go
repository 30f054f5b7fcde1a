package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Stage prepares what the current epoch becomes with parts put in, at every
// gateway that answers, and keeps it prepared over later commits: a rollout's
// inverse, so that taking back is only a commit. name is the rollout's; staging it
// again replaces it. It is forgotten at a restart: stage open ones again.
//
// Later commits keep the staged parts as they are, and the rest as it has become.
func (f *Fleet) Stage(ctx context.Context, name string, parts map[epoch.PartName][]byte) (epoch.Hash, error) {
	if err := f.lock(ctx); err != nil {
		return epoch.Hash{}, err
	}
	defer f.unlock()
	if err := f.ready(ctx); err != nil {
		return epoch.Hash{}, err
	}
	next, err := f.assemble(f.current.Load().Manifest, parts)
	if err != nil {
		return epoch.Hash{}, err
	}
	if next == nil {
		return epoch.Hash{}, errors.New("stage: no parts")
	}
	f.mu.Lock()
	f.staged[name] = maps.Clone(parts)
	f.mu.Unlock()
	if err := f.prepare(ctx, next); err != nil {
		f.mu.Lock()
		delete(f.staged, name)
		f.mu.Unlock()
		return epoch.Hash{}, err
	}
	return next.hash, f.keepBodies(ctx, next)
}

// Unstage forgets what was staged under a name.
func (f *Fleet) Unstage(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.staged, name)
}

// rebase prepares the staged changes again on top of a new epoch. A failure costs
// the gateway a fetch at the commit, not the commit.
func (f *Fleet) rebase(ctx context.Context) {
	f.mu.Lock()
	staged := maps.Clone(f.staged)
	f.mu.Unlock()
	for name, parts := range staged {
		next, err := f.assemble(f.current.Load().Manifest, parts)
		if err == nil {
			err = errors.Join(f.keepBodies(ctx, next), f.prepare(ctx, next))
		}
		if err != nil {
			f.cfg.Log.Warn("staged change not prepared on the new epoch", "staged", name, "error", err)
		}
	}
}

// keepBodies stores bodies in the ledger ahead of the commit that needs them, so
// that gateways can ask for them.
func (f *Fleet) keepBodies(ctx context.Context, next *prepared) error {
	events, err := f.bodyEvents(next, "system:fleet")
	if err != nil || len(events) == 0 {
		return err
	}
	if _, err := f.cfg.Ledger.Append(ctx, ledger.Batch{Events: events}); err != nil {
		return fmt.Errorf("store staged parts: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for hash, body := range next.bodies {
		f.bodies[hash] = body
	}
	return nil
}

// prepare makes an epoch ready at every gateway with a lease. A refusal stops the
// commit; a silent gateway does not: it will be fenced, or catch up.
func (f *Fleet) prepare(ctx context.Context, next *prepared) error {
	f.mu.Lock()
	now := f.cfg.Clock()
	var who []mintmark.GatewayID
	for id, m := range f.members {
		// A suspect is not asked: its refusal must not stop anybody.
		if m.heard != 0 && !m.doc.Removed && m.suspect == "" && m.maybeLeased(now, f.cfg.Lease) && !m.prepared[next.hash] {
			who = append(who, id)
		}
	}
	f.mu.Unlock()
	if len(who) == 0 {
		return nil
	}
	data, err := f.prepareMessage(next)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.PrepareWait)
	defer cancel()
	var (
		asked    sync.WaitGroup
		mu       sync.Mutex
		refusals []error
	)
	for _, id := range who {
		asked.Go(func() {
			if err := f.prepareOne(ctx, id, next, data); err != nil {
				mu.Lock()
				defer mu.Unlock()
				refusals = append(refusals, err)
			}
		})
	}
	asked.Wait()
	return errors.Join(refusals...)
}

// prepareMessage carries the bodies that a gateway on the current epoch lacks.
func (f *Fleet) prepareMessage(next *prepared) ([]byte, error) {
	cur := f.current.Load()
	m := bus.Prepare{V: bus.Version, Manifest: next.manifest, Parts: map[string]json.RawMessage{}}
	size := 0
	for _, ref := range next.manifest.Parts {
		if have, ok := cur.Manifest.Find(ref.Name); ok && have == ref.Hash {
			continue
		}
		// What does not fit is fetched by the gateway.
		if size += len(next.bodies[ref.Hash]); size < bus.MaxMessage/2 {
			m.Parts[ref.Hash.String()] = next.bodies[ref.Hash]
		}
	}
	f.mu.Lock()
	staged := slices.Collect(maps.Values(f.staged))
	f.mu.Unlock()
	for _, parts := range staged {
		manifest := cur.Manifest
		for name, body := range parts {
			if body == nil {
				manifest = manifest.Without(name)
				continue
			}
			manifest = manifest.With(epoch.PartRef{Name: name, Hash: epoch.HashOf(body)})
		}
		m.Keep = append(m.Keep, manifest.Hash())
	}
	return bus.Encode(m)
}

// prepareOne asks one gateway. Silence is no refusal.
func (f *Fleet) prepareOne(ctx context.Context, id mintmark.GatewayID, next *prepared, data []byte) error {
	answer, err := f.cfg.Bus.Request(ctx, fmt.Sprintf(bus.SubjectPrepare, id), data)
	if err != nil {
		f.cfg.Log.Warn("gateway did not prepare", "gateway", id, "error", err)
		return nil
	}
	var p bus.Prepared
	if err := bus.Decode(answer, &p); err != nil {
		return fmt.Errorf("%w: gateway %s: %w", ErrRefused, id, err)
	}
	if !p.OK || p.Manifest != next.hash {
		return fmt.Errorf("%w: gateway %s: %.500s", ErrRefused, id, p.Reason)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil {
		if len(m.prepared) > 64 {
			clear(m.prepared)
		}
		m.prepared[next.hash] = true
	}
	return nil
}
