// Package policy answers "what did the operator declare, is it sound, and what
// does it mean for gateways and the authority?".
//
// Resources are YAML documents (apiVersion mintmark/v1) of a few kinds. Parse
// reads files strictly: every error is found, each with file, line, column, what
// is wrong and how to mend it, and a set with any error is refused whole. Check
// judges a complete set, references included; Compile turns it into parts of an
// epoch and documents of the authority; Diff, Export and Format go the other way.
//
// The package is pure: no I/O, no clock, no randomness. Values are immutable once
// returned and safe to share.
package policy
