package follower

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// prepare makes an epoch ready ahead of its commit, or says why it can't.
func (f *Follower) prepare(ctx context.Context, _ string, data []byte) []byte {
	var q bus.Prepare
	if bus.Decode(data, &q) != nil {
		return nil
	}
	a := bus.Prepared{V: bus.Version, Manifest: q.Manifest.Hash(), OK: true}
	f.work <- struct{}{}
	err := f.makeReady(ctx, &q, a.Manifest)
	<-f.work
	if err != nil {
		a.OK, a.Reason = false, err.Error()
		f.cfg.Log.Warn("epoch not prepared", "manifest", a.Manifest, "error", err)
	}
	out, err := bus.Encode(a)
	if err != nil {
		return nil
	}
	return out
}

// makeReady keeps what was sent, fetches what is missing, compiles and tests.
// Call with work held.
func (f *Follower) makeReady(ctx context.Context, q *bus.Prepare, hash epoch.Hash) error {
	sent := map[epoch.Hash][]byte{}
	for name, body := range q.Parts {
		h, err := epoch.ParseHash(name)
		if err != nil || epoch.HashOf(body) != h {
			return fmt.Errorf("%w: a part's body is not that of its hash %.70q", ErrForged, name)
		}
		sent[h] = body
	}
	if len(sent) > 0 {
		if err := f.cfg.Store.PutBodies(ctx, sent, nil); err != nil {
			return fmt.Errorf("keep parts: %w", err)
		}
	}
	f.keep = append(q.Keep, hash)
	_, err := f.fetch(ctx, hash, &q.Manifest)
	return err
}

// fetch returns an epoch ready to be put in force: from what was prepared, from
// the store, or from control. manifest may be nil. Call with work held.
func (f *Follower) fetch(ctx context.Context, hash epoch.Hash, manifest *epoch.Manifest) (*ready, error) {
	if e := f.prepared[hash]; e != nil {
		return e, nil
	}
	if manifest == nil {
		bodies, err := f.bodies(ctx, []epoch.Hash{hash})
		if err != nil {
			return nil, err
		}
		manifest = new(epoch.Manifest)
		if err := json.Unmarshal(bodies[hash], manifest); err != nil {
			return nil, fmt.Errorf("%w: manifest %s: %w", ErrForged, hash, err)
		}
	}
	body, got, err := epoch.Encode(*manifest)
	if err != nil || got != hash {
		return nil, fmt.Errorf("%w: manifest %s has hash %s", ErrForged, hash, got)
	}
	bodies, err := f.bodies(ctx, hashes(*manifest))
	if err != nil {
		return nil, err
	}
	e, err := f.compile(*manifest, bodies)
	if err != nil {
		return nil, err
	}
	if err := f.cfg.Store.PutBodies(ctx, map[epoch.Hash][]byte{hash: body}, nil); err != nil {
		return nil, fmt.Errorf("keep manifest: %w", err)
	}
	f.prepared[hash] = e
	f.forget(ctx, hash)
	return e, nil
}

// compile builds an epoch and tests that it decides at all.
func (f *Follower) compile(m epoch.Manifest, bodies map[epoch.Hash][]byte) (*ready, error) {
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		return nil, err
	}
	for _, s := range table.Services() {
		if s.Arm("self-test") == nil {
			return nil, fmt.Errorf("self-test: service %s has no release to serve", s.Name)
		}
	}
	return &ready{manifest: m, table: table}, nil
}

// stored compiles a persisted epoch; the zero hash is the empty epoch.
func (f *Follower) stored(ctx context.Context, hash epoch.Hash) (*ready, error) {
	if hash.IsZero() {
		return f.compile(epoch.Manifest{}, nil)
	}
	bodies, err := f.cfg.Store.Bodies(ctx, []epoch.Hash{hash})
	if err != nil {
		return nil, err
	}
	var m epoch.Manifest
	if err := json.Unmarshal(bodies[hash], &m); err != nil || m.Hash() != hash {
		return nil, fmt.Errorf("%w: stored manifest %s is missing or damaged", ErrForged, hash)
	}
	bodies, err = f.cfg.Store.Bodies(ctx, hashes(m))
	if err != nil {
		return nil, err
	}
	e, err := f.compile(m, bodies)
	if err == nil {
		f.prepared[hash] = e
	}
	return e, err
}

// bodies gets bodies by hash: what is not stored comes from control, and each is
// what its hash says or is refused.
func (f *Follower) bodies(ctx context.Context, want []epoch.Hash) (map[epoch.Hash][]byte, error) {
	have, err := f.cfg.Store.Bodies(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("read stored parts: %w", err)
	}
	if have == nil {
		have = map[epoch.Hash][]byte{}
	}
	for {
		missing := slices.DeleteFunc(slices.Clone(want), func(h epoch.Hash) bool { return have[h] != nil })
		if len(missing) == 0 {
			return have, nil
		}
		a, err := ask[bus.Parts](ctx, f, f.cfg.Wait, bus.SubjectParts, bus.PartsRequest{V: bus.Version, Hashes: missing})
		if err == nil {
			err = unknown("fetch parts", a.Error)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBehind, err)
		}
		fresh := map[epoch.Hash][]byte{}
		for _, h := range missing {
			if body := a.Parts[h.String()]; body != nil {
				if epoch.HashOf(body) != h {
					return nil, fmt.Errorf("%w: part %s has another hash", ErrForged, h)
				}
				fresh[h] = body
			}
		}
		if len(fresh) == 0 {
			return nil, fmt.Errorf("%w: control has no part %s", ErrBehind, missing[0])
		}
		if err := f.cfg.Store.PutBodies(ctx, fresh, nil); err != nil {
			return nil, fmt.Errorf("keep parts: %w", err)
		}
		maps.Copy(have, fresh)
	}
}

func hashes(m epoch.Manifest) []epoch.Hash {
	out := make([]epoch.Hash, len(m.Parts))
	for i, ref := range m.Parts {
		out[i] = ref.Hash
	}
	return out
}

// maxPrepared bounds the epochs held ready.
const maxPrepared = 64

// forget drops prepared epochs, and stored bodies, that nothing needs: not the one
// in force, the newest, nor those that control wants kept.
func (f *Follower) forget(ctx context.Context, newest epoch.Hash) {
	if len(f.prepared) <= maxPrepared {
		return
	}
	needed := append(slices.Clone(f.keep), newest, f.applied.Manifest)
	var bodies []epoch.Hash
	for hash, e := range f.prepared {
		if !slices.Contains(needed, hash) {
			delete(f.prepared, hash)
			continue
		}
		bodies = append(append(bodies, hash), hashes(e.manifest)...)
	}
	if err := f.cfg.Store.PutBodies(ctx, nil, bodies); err != nil && !errors.Is(err, context.Canceled) {
		f.cfg.Log.Warn("old parts not dropped", "error", err)
	}
}
