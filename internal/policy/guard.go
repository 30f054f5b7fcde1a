package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
)

// Guard says what stands between an operator's request and a revocation: when a
// second person is wanted, and how much one action of a program may cover. There
// is one at most; without it a typed confirmation is all that is asked.
type Guard struct {
	Header
	SecondPerson     string   `json:"second_person,omitempty" check:"enum=never|broad|always" doc:"Revocations that wait until another operator with the role security approves them: none, those whose selector may cover many subjects, or all; never when left out."`
	SecondPersonOver int64    `json:"second_person_over,omitempty" check:"min=0" doc:"Also those that cover more live tokens than this, whatever their selector; 0 is no such rule."`
	Approval         Duration `json:"approval,omitempty" doc:"How long a revocation waits for its second person, up to 7d; 1h when left out."`
	Cap              int64    `json:"cap,omitempty" check:"min=0" doc:"Most live tokens that one action of a capped actor may cover; above it a second person is wanted. 0 is no cap."`
	Capped           []string `json:"capped,omitempty" doc:"Actors that the cap binds and that approve nothing: client:ID, user:NAME, or client:* for all clients."`
	BreakGlass       bool     `json:"break_glass,omitempty" doc:"Let an operator with the role security do without the second person in an emergency; the receipt says so."`
}

const (
	defaultApproval = time.Hour
	maxApproval     = 7 * 24 * time.Hour
)

// GuardOf returns the set's guard; the zero one guards nothing.
func GuardOf(s Set) Guard {
	var out Guard
	each(s, func(_ *Resource, g *Guard) { out = *g })
	return out
}

// Wants says why a revocation by an actor needs a second person; "" when it does
// not. tokens is how many live tokens it covers.
func (g *Guard) Wants(actor string, sel mintmark.Selector, tokens int64) string {
	switch {
	case g.SecondPerson == "always":
		return "the guard wants a second person for every revocation"
	case g.SecondPerson == "broad" && sel.Broad():
		return "the guard wants a second person for selectors that may cover many subjects"
	case g.SecondPersonOver > 0 && tokens > g.SecondPersonOver:
		return fmt.Sprintf("it covers %d live tokens, and the guard wants a second person above %d", tokens, g.SecondPersonOver)
	case g.Cap > 0 && tokens > g.Cap && g.Binds(actor):
		return fmt.Sprintf("it covers %d live tokens, and one action of %s may cover %d", tokens, actor, g.Cap)
	}
	return ""
}

// Binds reports whether the cap binds an actor. Such an actor approves nothing.
func (g *Guard) Binds(actor string) bool {
	for _, c := range g.Capped {
		if prefix, any := strings.CutSuffix(c, "*"); c == actor || any && strings.HasPrefix(actor, prefix) {
			return true
		}
	}
	return false
}

// Waits is how long a revocation waits for its second person.
func (g *Guard) Waits() time.Duration {
	if g.Approval == 0 {
		return defaultApproval
	}
	return time.Duration(g.Approval)
}

func checkGuards(s Set, es *Errors) {
	n := 0
	each(s, func(r *Resource, g *Guard) {
		if n++; n > 1 {
			r.fail(es, "name", "there is a Guard already, and two could contradict each other", "keep one")
		}
		if time.Duration(g.Approval) > maxApproval {
			r.fail(es, "approval", "a revocation may wait 7d at most", "")
		}
		if g.Cap > 0 && len(g.Capped) == 0 {
			r.fail(es, "cap", "caps nobody", "name actors in capped, for instance client:*")
		}
		for i, c := range g.Capped {
			kind, name, ok := strings.Cut(c, ":")
			if !ok || (kind != "client" && kind != "user") || name == "" || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
				r.fail(es, fmt.Sprintf("capped[%d]", i), fmt.Sprintf("%q is not an actor", short(c)), "write client:ID, user:NAME or client:*")
			}
		}
	})
}
