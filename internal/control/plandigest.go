package control

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
)

// basis puts into a plan what it depends on, by name, and the digest of that. How
// many tokens there are is no part of it: they come and go all the time.
func (c *Control) basis(p *api.Plan, svc *epoch.Service) {
	b := map[string]string{"stable release": p.Stable, "candidate": p.Candidate, "open rollout": string(svc.Split.Rollout)}
	for i := range svc.Releases {
		r := &svc.Releases[i]
		if r.Name == p.Stable || r.Name == p.Candidate {
			b["release "+r.Name] = hashed(r)
			b["policy of "+r.Name] = fmt.Sprintf("%s@%d", r.Mint.Policy, r.Mint.Version)
		}
	}
	b["issuers"] = strings.Join(svc.Issuers, " ")
	for _, lines := range [][]api.PlanLine{p.Forward, p.Back} {
		for _, l := range lines {
			b[fmt.Sprintf("disposition of %s tokens of %s under %s", l.Class, l.Release, l.Under)] = l.Disposition.String()
		}
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(b)) {
		fmt.Fprintf(h, "%d %s %d %s\n", len(name), name, len(b[name]), b[name])
	}
	p.Basis, p.Digest = b, hex.EncodeToString(h.Sum(nil))
}

func hashed(v any) string {
	_, h, err := epoch.Encode(v)
	if err != nil {
		return "" // floats: the part itself could not have been encoded
	}
	return fmt.Sprintf("%x", h[:6])
}

func sortedNames(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func shown(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func joined(list []string) string { return strings.Join(list, "; ") }
