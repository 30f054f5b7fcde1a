package jose

import (
	"fmt"
)

// Bounds of a JSON Web Key Set.
const (
	MaxSet     = 1 << 20
	MaxSetKeys = 200
)

// ErrSet reports a key set that must not be used at all, because it is ambiguous
// or not a set.
var ErrSet = fmt.Errorf("%w set", ErrKey)

// Set is a JSON Web Key Set as far as it is usable.
type Set struct {
	Keys []*Key
	// Skipped says which keys were left out and why, for people: foreign types,
	// encryption keys, weak keys (RFC 7517 §5 says to ignore them).
	Skipped []string
}

// ParseSet reads a JSON Web Key Set. It is refused whole when it is not JSON in
// our strict reading, larger than MaxSet or MaxSetKeys, when two signing keys
// share a kid (which of them signed would be anybody's guess), or when a private
// key is published in it.
func ParseSet(text []byte) (Set, error) {
	if len(text) > MaxSet {
		return Set{}, fmt.Errorf("%w: %w: %d bytes", ErrSet, ErrTooLarge, len(text))
	}
	s := Scan(string(text))
	var keys Value
	for s.Next() {
		if s.Name() == "keys" {
			keys = s.Value()
		}
	}
	if s.Err() != nil {
		return Set{}, fmt.Errorf("%w: %w", ErrSet, s.Err())
	}
	if keys.Kind() != Array {
		return Set{}, fmt.Errorf("%w: no array \"keys\"", ErrSet)
	}
	var set Set
	seen := map[string]bool{}
	n := 0
	for v := range keys.Elements {
		if n++; n > MaxSetKeys {
			return Set{}, fmt.Errorf("%w: more than %d keys", ErrSet, MaxSetKeys)
		}
		if err := set.add(v, n, seen); err != nil {
			return Set{}, err
		}
	}
	return set, nil
}

func (set *Set) add(v Value, n int, seen map[string]bool) error {
	if v.Kind() != Object {
		return fmt.Errorf("%w: key #%d is not an object", ErrSet, n)
	}
	j, err := readJWK(v.Raw())
	name := describeIndex(j.kid, n)
	if err == nil && j.private && j.kty != "oct" {
		return fmt.Errorf("%w: key %s is published with its private members", ErrSet, name)
	}
	var key *Key
	if err == nil {
		key, err = j.key("")
	}
	if err != nil {
		set.Skipped = append(set.Skipped, fmt.Sprintf("%s: %v", name, err))
		return nil
	}
	if seen[j.kid] {
		return fmt.Errorf("%w: two signing keys have the kid %s", ErrSet, name)
	}
	seen[j.kid] = true
	set.Keys = append(set.Keys, key)
	return nil
}

// PrintSet returns the JSON Web Key Set of the keys, in their order.
func PrintSet(keys []*Key) []byte {
	b := []byte(`{"keys":[`)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, k.jwk...)
	}
	return append(b, "]}"...)
}
