// Package mintmark holds the words of the product, a file a noun: the types
// that every other package, the admin API, the command line and the documents
// use in the same sense.
//
// The package imports the standard library only, does no I/O, keeps no state,
// and reads neither clock nor randomness. All values are safe to copy; none is
// safe for concurrent mutation.
//
// JSON and text forms given here are wire and disk formats. They evolve by
// addition: a member is never renamed, retyped or reused, and a reader ignores
// members it does not know.
package mintmark
