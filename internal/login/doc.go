// Package login answers: what does a person see while signing in, and who does
// another provider say that person is?
//
// It knows nothing of tokens, grants or the ledger: the authority decides, and
// keeps what a sign-in is about. Pages are written in one go, under a policy that
// allows neither scripts nor frames. Providers is safe for concurrent use and
// keeps no more than each provider's metadata and keys for a few minutes.
package login
