package rollout

import (
	"fmt"
	"slices"

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
	switch r.State {
	case Progressing, Promoted:
		svc.Split = epoch.Split{Stable: r.Stable, Candidate: r.Candidate, Weight: r.Weight, Salt: r.Salt, Rollout: r.ID}
	case Finalised:
		svc.Split = epoch.Split{Stable: r.Candidate}
	default:
		return epoch.Service{}, fmt.Errorf("%w: a rollout that is %s has an inverse, not a part", ErrInvalid, r.State)
	}
	return svc, nil
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
