package policy

import (
	"fmt"

	"github.com/mintmark/mintmark/internal/epoch"
)

// ForeignIssuer is a declared issuer as the federation needs it: what gateways
// see of it, and how control finds its keys.
type ForeignIssuer struct {
	Part       epoch.Issuer // without fetched keys
	Discovery  bool
	JWKSURI    string
	Algs       []string
	Introspect *Introspect
}

// ForeignIssuers lists the issuers that a set declares, by name.
func ForeignIssuers(s Set) ([]ForeignIssuer, error) {
	var out []ForeignIssuer
	var failed error
	each(s, func(r *Resource, v *Issuer) {
		part, err := compileIssuer(v)
		if err != nil && failed == nil {
			failed = fmt.Errorf("compile %s: %w", r.ID(), err)
		}
		out = append(out, ForeignIssuer{Part: part, Discovery: v.Discovery, JWKSURI: v.JWKSURI, Algs: v.Algs, Introspect: v.Introspect})
	})
	return out, failed
}
