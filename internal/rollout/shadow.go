package rollout

import (
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Classes of tokens that the stable release would refuse whatever a rollback does,
// beside those of Rules; and of tokens that merely live longer than its own.
const (
	NoAudience  = "no_audience"  // no audience of the service
	NoRoute     = "no_route"     // of a kind that no route of the service takes
	LongerLived = "longer_lived" // than the stable release would have minted
)

// Shade is what the stable release would say of a token that the candidate minted.
// The zero Shade is a token that would go on as it is, or be mapped or reissued.
type Shade struct {
	// Class is why not, one of Rules' classes or of those above.
	Class string
	// Stranded: a rollback would cut the token off.
	Stranded bool
	// Tainted: and rightly so, for the token itself is wrong (see Tainted). A token
	// that is stranded without being tainted is a client's that did nothing wrong.
	Tainted bool
}

// ShadowOf judges an access token of an open rollout's candidate by the stable
// release, as if the candidate were taken back now by the default dispositions:
// shadow verification. Tokens of other releases and kinds have the zero Shade.
func ShadowOf(s *epoch.ServiceEntry, t *mintmark.Token) Shade {
	if s.Candidate == nil || t.Mark.Release != s.Candidate.ID {
		return Shade{}
	}
	switch t.Kind {
	case mintmark.KindAccessJWT, mintmark.KindOpaque, mintmark.KindAPIKey, mintmark.KindForeign:
	default:
		return Shade{} // refresh tokens have no shape; the others stay behind gateways
	}
	if !s.AnswersTo(t.Audience) {
		return Shade{Class: NoAudience, Stranded: true}
	}
	if !taken(s, t.Kind) {
		return Shade{Class: NoRoute, Stranded: true}
	}
	rules, err := Rules(s.Service, s.Split.Stable, s.Split.Candidate, Options{})
	if err != nil {
		return Shade{} // the compiled split names releases that are there
	}
	if r := Classify(rules, t); r != nil && r.Disposition == mintmark.Revoke {
		return Shade{Class: r.Class, Stranded: true, Tainted: Tainted(r.Class)}
	}
	if most := s.Stable.Mint.AccessSeconds; most > 0 && t.Kind != mintmark.KindAPIKey && t.Expires-t.IssuedAt > most {
		return Shade{Class: LongerLived}
	}
	return Shade{}
}

// Tainted reports whether a class says that its tokens themselves are wrong.
func Tainted(class string) bool { return class == OverScoped || class == WrongAudience }

// taken reports whether a route takes tokens of a kind; a service without guarded
// routes is not behind gateways, and its tokens are nobody's to refuse.
func taken(s *epoch.ServiceEntry, k mintmark.TokenKind) bool {
	guarded := slices.ContainsFunc(s.Routes, func(r epoch.Route) bool { return !r.Public })
	return !guarded || slices.ContainsFunc(s.Routes, func(r epoch.Route) bool {
		return !r.Public && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, k))
	})
}
