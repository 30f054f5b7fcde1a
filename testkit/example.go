package testkit

import _ "embed"

// Example is a commented file of scenarios to begin with.
//
//go:embed example.yaml
var Example string

// packRFC8725 are the scenarios that every resource server for JWT access tokens
// must pass: what RFC 8725 and RFC 9068 tell it to refuse, and that it accepts the
// rest.
//
//go:embed rfc8725.yaml
var packRFC8725 string

// Packs are the names of the scenarios that come with the kit.
func Packs() []string { return []string{"rfc8725"} }

// Pack returns the scenarios of a pack as YAML; false when there is none of the
// name.
func Pack(name string) (string, bool) {
	if name != "rfc8725" {
		return "", false
	}
	return packRFC8725, true
}
