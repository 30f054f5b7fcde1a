package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// find returns a service's release by name.
func find(svc *epoch.Service, name string) (*epoch.Release, error) {
	for i := range svc.Releases {
		if svc.Releases[i].Name == name {
			return &svc.Releases[i], nil
		}
	}
	return nil, fmt.Errorf("%w: service %s has no release %.70q", ErrInvalid, svc.Name, name)
}

// Check reports whether a service can begin to move to a candidate.
func Check(svc *epoch.Service, candidate string) error {
	if svc.Split.Rollout != "" {
		return fmt.Errorf("%w: service %s is in rollout %s; promote and finalise it, or roll it back, first", ErrIllegal, svc.Name, svc.Split.Rollout)
	}
	if candidate == svc.Split.Stable {
		return fmt.Errorf("%w: %s is the stable release of %s already", ErrInvalid, candidate, svc.Name)
	}
	_, err := find(svc, candidate)
	return err
}

// Service returns the service's part for a rollout that is progressing, promoted
// or finalised. svc is the part in force; it is not changed.
func Service(svc epoch.Service, r Rollout) (epoch.Service, error) {
	if _, err := find(&svc, r.Candidate); err != nil {
		return epoch.Service{}, err
	}
	if _, err := find(&svc, r.Stable); err != nil {
		return epoch.Service{}, err
	}
	switch {
	case r.State.Open():
		split := epoch.Split{Stable: r.Stable, Candidate: r.Candidate, Weight: r.Weight, Salt: r.Salt, Rollout: r.ID}
		if svc.Split.Rollout == r.ID {
			split.Watch = svc.Split.Watch
		}
		split.Preview, split.Mirror = extras(&r)
		svc.Split = split
		svc.Requires = requires(svc.Requires, &split)
	case r.State == Finalised:
		svc.Split = epoch.Split{Stable: r.Candidate}
		svc.Requires = requires(svc.Requires, &svc.Split)
	default:
		return epoch.Service{}, fmt.Errorf("%w: a rollout that is %s has an inverse, not a part", ErrInvalid, r.State)
	}
	return svc, nil
}

// extras are the split's preview and mirror. Once everything is the candidate's
// neither means anything.
func extras(r *Rollout) (p *epoch.Preview, m *epoch.Mirror) {
	if r.Spec == nil || r.State == Promoted || r.State == Paused && r.Before == Promoted {
		return nil, nil
	}
	if s := r.Spec.Preview; s != nil {
		p = &epoch.Preview{Header: strings.ToLower(s.Header), Cookie: s.Cookie, Value: s.Value, Host: s.Host, Clients: s.Clients, Share: s.Share}
	}
	if s := r.Spec.Mirror; s != nil {
		m = &epoch.Mirror{Share: s.Share, Methods: s.Methods, MaxBody: s.MaxBody}
	}
	return p, m
}

// requires keeps gateways that would misread a split from preparing it.
func requires(have []string, s *epoch.Split) []string {
	out := slices.DeleteFunc(slices.Clone(have), func(f string) bool { return f == epoch.FeaturePreview || f == epoch.FeatureMirror })
	if s.Preview != nil {
		out = append(out, epoch.FeaturePreview)
	}
	if s.Mirror != nil {
		out = append(out, epoch.FeatureMirror)
	}
	slices.Sort(out)
	return slices.Clip(out)
}

// PolicyOf returns the version of a release's mint policy; 0 when there is no such
// release.
func PolicyOf(svc *epoch.Service, release string) uint64 {
	r, err := find(svc, release)
	if err != nil {
		return 0
	}
	return r.Mint.Version
}

// Undoable reports why a finalised rollout can't be undone: its stable release must
// still be what it was. Whether its tokens and keys are still good is for whoever
// knows the revocations to say.
func Undoable(svc *epoch.Service, r *Rollout) error {
	release := mintmark.NewReleaseID(r.Service, r.Stable)
	stable, err := find(svc, r.Stable)
	switch {
	case svc.Split.Rollout != "":
		return fmt.Errorf("%w: service %s is in rollout %s meanwhile: roll that back or finalise it first", ErrIllegal, r.Service, svc.Split.Rollout)
	case svc.Split.Stable != r.Candidate:
		return fmt.Errorf("%w: service %s has moved on: its stable release is %s, not %s", ErrIllegal, r.Service, svc.Split.Stable, r.Candidate)
	case err != nil:
		return fmt.Errorf("%w: release %s was removed: apply it again first", ErrIllegal, release)
	case r.StablePolicy != 0 && stable.Mint.Version != r.StablePolicy:
		return fmt.Errorf("%w: the policy of %s was changed since (version %d, then %d): start a rollout to %s instead", ErrIllegal, release, stable.Mint.Version, r.StablePolicy, r.Stable)
	case slices.ContainsFunc(svc.Retired, func(o epoch.Retired) bool { return o.Release == r.Stable && o.CutoffSeq == unbounded }):
		return fmt.Errorf("%w: %s was taken back by another rollout since: start a rollout to it instead", ErrIllegal, release)
	}
	return nil
}

// Return gives the rules for a candidate that was taken back before: from now on it
// mints again, and tokens with numbers above newest, the highest given out so far,
// are not concerned. Nothing minted under it while it was away, so that any number
// between its rollback and now will do.
func Return(svc epoch.Service, candidate string, newest uint64) epoch.Service {
	svc.Retired = slices.Clone(svc.Retired)
	for i, old := range svc.Retired {
		if old.Release == candidate && old.CutoffSeq == unbounded {
			svc.Retired[i].CutoffSeq = newest
		}
	}
	return svc
}

// Options change how a release is taken back. The zero Options are the defaults,
// under which the inverse does not depend on the time.
type Options struct {
	// Override replaces the disposition of a class.
	Override map[string]mintmark.Disposition
	// Declared are dispositions of the spec, below Override. What holds no longer since an
	// apply is left out: it must not keep a bad release in place.
	Declared map[string]mintmark.Disposition
	// Now, Window and Grace (Unix seconds, seconds) spread the turns of a reissue
	// and delay the revocation of tokens that nothing can read.
	Now, Window, Grace int64
}

// Inverse returns the part that takes the candidate back: the stable release has
// all traffic and mints, and the candidate's tokens meet their dispositions.
func Inverse(svc epoch.Service, r Rollout, o Options) (epoch.Service, error) {
	rules, err := Rules(&svc, r.Stable, r.Candidate, o)
	if err != nil {
		return epoch.Service{}, err
	}
	svc.Split = epoch.Split{Stable: r.Stable}
	svc.Requires = requires(svc.Requires, &svc.Split)
	retired := epoch.Retired{Release: r.Candidate, Rollout: r.ID, CutoffSeq: unbounded, Rules: rules}
	if slices.ContainsFunc(rules, func(d epoch.DispositionRule) bool { return d.Disposition == mintmark.Reissue }) {
		retired.Start, retired.Window = o.Now, o.Window
	}
	kept := slices.DeleteFunc(slices.Clone(svc.Retired), func(old epoch.Retired) bool { return old.Rollout == r.ID })
	svc.Retired = append(kept, retired)
	// The earliest cut-off that a token is below decides.
	slices.SortStableFunc(svc.Retired, func(a, b epoch.Retired) int {
		switch {
		case a.CutoffSeq < b.CutoffSeq:
			return -1
		case a.CutoffSeq > b.CutoffSeq:
			return 1
		}
		return 0
	})
	return svc, nil
}

// Rebase gives a newly compiled part the state of the one in force: its split and
// its retired releases. A release that has traffic can't be left out.
func Rebase(compiled epoch.Service, current *epoch.Service) (epoch.Service, error) {
	if current == nil {
		return compiled, nil
	}
	compiled.Split, compiled.Retired = current.Split, current.Retired
	compiled.Requires = requires(compiled.Requires, &compiled.Split)
	for _, name := range []string{current.Split.Stable, current.Split.Candidate} {
		if name == "" {
			continue
		}
		if _, err := find(&compiled, name); err != nil {
			return compiled, fmt.Errorf("%w: release %s/%s has traffic and can't be removed; roll it back or replace it first", ErrIllegal, compiled.Name, name)
		}
	}
	return compiled, nil
}
