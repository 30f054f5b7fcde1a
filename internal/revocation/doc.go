// Package revocation answers: is this token taken back, and by which fact?
//
// Covers is the one evaluation function over every dimension and every kind of
// cutoff. Set holds the facts in force, indexed so that a look-up costs the same
// with none as with millions of them.
//
// Invariants: a fact in a Set stays until it is restored, or forgotten after its
// time; it is never evicted. Find and a naive scan with Covers agree.
//
// Concurrency: one writer at a time (a mutex sees to it), any number of readers,
// which never wait. What a reader sees of one Apply is all or part of it; Version
// changes only after the whole is visible.
package revocation
