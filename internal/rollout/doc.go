// Package rollout answers "what may be done to a rollout now, what epoch does that
// make, and what becomes of the tokens of a release that is taken back?".
//
// It is pure: no I/O, no clock, no randomness. A Rollout is a value; Step returns
// the next one or says why not; Service gives the service's part for it; Inverse
// is the part that takes it back, computed before it is needed so that every
// gateway can hold it ready. The inverse depends on nothing but the part in
// force: whoever changes that part computes the inverse again.
package rollout
