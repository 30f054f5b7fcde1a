package mintmark

import (
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"
)

// Action is what a revocation does to the tokens it covers.
type Action uint8

// Actions. The numbers are on disk and wire: never reuse one.
const (
	ActionRevoke  Action = 1 // for good
	ActionSuspend Action = 2 // until restored
)

// String returns revoke or suspend.
func (a Action) String() string {
	switch a {
	case ActionRevoke:
		return "revoke"
	case ActionSuspend:
		return "suspend"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText implements encoding.TextMarshaler.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Action) UnmarshalText(b []byte) error {
	switch string(b) {
	case "revoke":
		*a = ActionRevoke
	case "suspend":
		*a = ActionSuspend
	default:
		return fmt.Errorf("unknown action %.40q: want revoke or suspend", b)
	}
	return nil
}

// Selector names tokens by any of their dimensions. Its conditions are joined by
// "and"; an empty condition does not restrict. The zero Selector selects nothing:
// it is refused, so that no mistake revokes everything.
//
// The text form is condition[,condition]… with condition
//
//	token= family= grant= subject= client= issuer= key= release= scope= audience=
//	issued>=RFC3339  issued<=RFC3339
//
// where a value's reserved characters (comma, percent, controls) are
// percent-encoded.
type Selector struct {
	Token    TokenID   `json:"token,omitempty"`
	Family   FamilyID  `json:"family,omitempty"`
	Grant    GrantID   `json:"grant,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Client   ClientID  `json:"client,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	Key      string    `json:"key,omitempty"`
	Release  ReleaseID `json:"release,omitempty"`
	Scope    string    `json:"scope,omitempty"`
	Audience string    `json:"audience,omitempty"`
	// IssuedFrom and IssuedTo are an inclusive window of issue time as a person
	// gave it; zero is unbounded. Control resolves it into a Cutoff at commit.
	IssuedFrom time.Time `json:"issued_from,omitzero"`
	IssuedTo   time.Time `json:"issued_to,omitzero"`
}

// ErrSelector reports a malformed selector.
var ErrSelector = errors.New("malformed selector")

// dims lists the dimensions in the order of the text form.
func (s *Selector) dims() [10]struct {
	name string
	get  string
	set  func(string)
} {
	return [10]struct {
		name string
		get  string
		set  func(string)
	}{
		{"token", string(s.Token), func(v string) { s.Token = TokenID(v) }},
		{"family", string(s.Family), func(v string) { s.Family = FamilyID(v) }},
		{"grant", string(s.Grant), func(v string) { s.Grant = GrantID(v) }},
		{"subject", s.Subject, func(v string) { s.Subject = v }},
		{"client", string(s.Client), func(v string) { s.Client = ClientID(v) }},
		{"issuer", s.Issuer, func(v string) { s.Issuer = v }},
		{"key", s.Key, func(v string) { s.Key = v }},
		{"release", string(s.Release), func(v string) { s.Release = ReleaseID(v) }},
		{"scope", s.Scope, func(v string) { s.Scope = v }},
		{"audience", s.Audience, func(v string) { s.Audience = v }},
	}
}

// SelectorDimensions are the names that a selector's text form may use.
func SelectorDimensions() []string {
	var s Selector
	d := s.dims()
	names := make([]string, 0, len(d)+1)
	for _, x := range d {
		names = append(names, x.name)
	}
	return append(names, "issued")
}

// IsZero reports whether the selector has no condition at all.
func (s Selector) IsZero() bool { return s == Selector{} }

// Broad reports whether the selector may cover tokens of many subjects: guarded
// by a typed confirmation.
func (s Selector) Broad() bool {
	return s.Token == "" && s.Family == "" && s.Grant == "" && s.Subject == ""
}

// Check reports whether the selector may be used: not empty, values bounded to
// 512 bytes, window not reversed.
func (s Selector) Check() error {
	if s.IsZero() {
		return fmt.Errorf("%w: no condition; name at least one of %s", ErrSelector, strings.Join(SelectorDimensions(), ", "))
	}
	for _, d := range s.dims() {
		if len(d.get) > 512 {
			return fmt.Errorf("%w: %s is longer than 512 bytes", ErrSelector, d.name)
		}
	}
	if s.Release != "" {
		if _, err := ParseReleaseID(string(s.Release)); err != nil {
			return fmt.Errorf("%w: %w", ErrSelector, err)
		}
	}
	if !s.IssuedFrom.IsZero() && !s.IssuedTo.IsZero() && s.IssuedTo.Before(s.IssuedFrom) {
		return fmt.Errorf("%w: issued<= is before issued>=", ErrSelector)
	}
	return nil
}

// String returns the text form.
func (s Selector) String() string {
	var parts []string
	for _, d := range s.dims() {
		if d.get != "" {
			parts = append(parts, d.name+"="+escapeValue(d.get))
		}
	}
	if !s.IssuedFrom.IsZero() {
		parts = append(parts, "issued>="+s.IssuedFrom.UTC().Format(time.RFC3339Nano))
	}
	if !s.IssuedTo.IsZero() {
		parts = append(parts, "issued<="+s.IssuedTo.UTC().Format(time.RFC3339Nano))
	}
	return strings.Join(parts, ",")
}

func escapeValue(v string) string {
	if !strings.ContainsFunc(v, func(r rune) bool { return r == ',' || r == '%' || r < 0x20 || r == 0x7f }) {
		return v
	}
	var b strings.Builder
	for _, c := range []byte(v) {
		if c == ',' || c == '%' || c < 0x20 || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ParseSelector reads the text form and checks it.
func ParseSelector(text string) (Selector, error) {
	var s Selector
	dims := s.dims()
	seen := map[string]bool{}
	for cond := range strings.SplitSeq(text, ",") {
		cond = strings.TrimSpace(cond)
		if cond == "" {
			continue
		}
		name, value, op, err := splitCondition(cond)
		if err != nil {
			return Selector{}, err
		}
		if seen[name+op] {
			return Selector{}, fmt.Errorf("%w: %s given twice", ErrSelector, name)
		}
		seen[name+op] = true
		if name == "issued" {
			t, err := time.Parse(time.RFC3339Nano, value)
			switch {
			case err != nil || t.IsZero():
				return Selector{}, fmt.Errorf("%w: issued%s%.60s: want a time like 2026-01-31T14:03:00Z", ErrSelector, op, value)
			case op == ">=":
				s.IssuedFrom = t.UTC()
			case op == "<=":
				s.IssuedTo = t.UTC()
			default:
				return Selector{}, fmt.Errorf("%w: issued takes >= or <=", ErrSelector)
			}
			continue
		}
		if op != "=" || value == "" {
			return Selector{}, fmt.Errorf("%w: %.60q: want %s=value", ErrSelector, cond, name)
		}
		known := false
		for i := range dims {
			if dims[i].name == name {
				dims[i].set(value)
				known = true
			}
		}
		if !known {
			return Selector{}, fmt.Errorf("%w: unknown condition %.60q; want one of %s", ErrSelector, name, strings.Join(SelectorDimensions(), ", "))
		}
	}
	return s, s.Check()
}

func splitCondition(cond string) (name, value, op string, err error) {
	i := strings.IndexAny(cond, "=<>")
	if i <= 0 {
		return "", "", "", fmt.Errorf("%w: %.60q: want name=value", ErrSelector, cond)
	}
	name, op = cond[:i], cond[i:i+1]
	value = cond[i+1:]
	if op != "=" {
		if !strings.HasPrefix(value, "=") {
			return "", "", "", fmt.Errorf("%w: %.60q: want issued>= or issued<=", ErrSelector, cond)
		}
		op, value = op+"=", value[1:]
	}
	if value, err = url.PathUnescape(value); err != nil {
		return "", "", "", fmt.Errorf("%w: %.60q: bad percent-encoding", ErrSelector, cond)
	}
	return name, value, op, nil
}

// Cutoff bounds a revocation by issue time, inclusive on both ends. Tokens of our
// authority are compared by the issuance sequence number in their mark, because
// iat has one-second grain and clocks jump; tokens of other issuers by iat. The
// zero value bounds nothing.
type Cutoff struct {
	FromSeq uint64 `json:"from_seq,omitempty"`
	ToSeq   uint64 `json:"to_seq,omitempty"` // 0: no upper bound
	From    int64  `json:"from,omitempty"`   // Unix seconds, first covered
	To      int64  `json:"to,omitempty"`     // Unix seconds, last covered: the next whole second; 0: no upper bound
}

// Revocation is a fact with a sequence number: which tokens stop being
// acceptable, from which issue time, until when the fact can be forgotten.
type Revocation struct {
	ID       RevocationID `json:"id"`
	Action   Action       `json:"action"`
	Selector Selector     `json:"selector"`
	Cutoff   Cutoff       `json:"cutoff,omitzero"`
	// Forget is the Unix second after which no covered token can still be live,
	// so that the fact may be dropped; 0 is never.
	Forget int64 `json:"forget,omitempty"`
	// Until is the Unix second at which a suspension ends by itself: control then
	// restores it, with a row and receipt of its own. 0 is when somebody does. It
	// means nothing to gateways.
	Until int64 `json:"until,omitempty"`
	// Made is when it was committed, in Unix milliseconds; for people.
	Made   int64  `json:"made"`
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
	// Rollout ties the fact to the rollback that made it.
	Rollout RolloutID `json:"rollout,omitempty"`
}

// SortedSet returns the distinct non-empty values in ascending order: the form of
// Token.Scopes and Token.Audience.
func SortedSet(values []string) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		if v != "" {
			out = append(out, v)
		}
	}
	sort.Strings(out)
	n := 0
	for i, v := range out {
		if i == 0 || v != out[n-1] {
			out[n] = v
			n++
		}
	}
	return out[:n:n]
}
