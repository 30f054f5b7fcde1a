// Package revocation answers: is this token taken back, and by which fact?
//
// Covers is the one evaluation function over every dimension and every kind of
// cutoff. Set holds the facts in force, indexed so that a look-up costs the same
// with none as with millions of them.
//
// Invariants: a fact in a Set stays until it is restored, or forgotten after its
// time; it is never evicted. Find and a naive scan with Covers agree.
//
// What was exchanged from a token is taken back with it, at any distance and by any
// selector: Token.Origins carries the facts of each that it was made of, and the one
// function asks of them what it asks of the token. It is the token endpoint that
// writes them down, so there is nothing to look up.
//
// Concurrency: one writer at a time (a mutex sees to it), any number of readers,
// which never wait. What a reader sees of one Apply is all or part of it; Version
// changes only after the whole is visible.
package revocation
