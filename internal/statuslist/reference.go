package statuslist

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/mintmark/mintmark/internal/jose"
)

// Reference is a token's place in a list: its claim status.status_list (draft §6).
type Reference struct {
	Index uint64 `json:"idx"`
	URI   string `json:"uri"`
}

// maxURI bounds a list's URI in bytes, maxIndex an index: no list that we read is
// longer.
const (
	maxURI   = 2048
	maxIndex = MaxArray * 8
)

// Claim returns the value of the claim "status".
func (r Reference) Claim() json.RawMessage {
	b, err := json.Marshal(struct {
		List Reference `json:"status_list"`
	}{r})
	if err != nil {
		panic("statuslist: encode a reference: " + err.Error()) // a number and a string: cannot fail
	}
	return b
}

// ParseClaim reads the value of the claim "status": ok is false when there is no
// such claim, or it names other mechanisms only. A claim that is there and can't
// be read is ErrMalformed, never "none": its token's status is not known.
func ParseClaim(v jose.Value) (r Reference, ok bool, err error) {
	if v.Kind() == jose.None {
		return r, false, nil
	}
	if v.Kind() != jose.Object {
		return r, false, fmt.Errorf("%w: claim status is not an object", ErrMalformed)
	}
	list, found := member(v, "status_list")
	if !found {
		return r, false, nil
	}
	if list.Kind() != jose.Object {
		return r, false, fmt.Errorf("%w: status_list is not an object", ErrMalformed)
	}
	idx, _ := member(list, "idx")
	if r.Index, ok = idx.Uint(); !ok || r.Index >= maxIndex {
		return r, false, fmt.Errorf("%w: idx: want an integer from 0 to %d", ErrMalformed, maxIndex-1)
	}
	uri, _ := member(list, "uri")
	if r.URI, ok = uri.Str(); !ok {
		return r, false, fmt.Errorf("%w: no string uri", ErrMalformed)
	}
	return r, true, CheckURI(r.URI)
}

// CheckURI reports whether a list may be fetched from a URI: absolute http or
// https, without user and fragment.
func CheckURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > maxURI || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%w: uri %.200q is not a plain http or https address", ErrMalformed, uri)
	}
	return nil
}

func member(v jose.Value, name string) (jose.Value, bool) {
	s := v.Members()
	for s.Next() {
		if s.Name() == name {
			return s.Value(), true
		}
	}
	return jose.Value{}, false
}
