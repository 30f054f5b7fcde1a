// Package control answers "what does an operator's wish mean for the state log,
// and what came of it?": resources applied, tokens revoked and restored, rollouts
// moved and taken back, each with its receipt.
//
// Control decides and the fleet commits: every wish becomes at most one row of the
// state log, written together with the documents that go with it. Two operators
// who change the same thing at once are told apart by the version that each
// decided against: one of them gets ErrConflict, except where both want the same
// (a rollback is a success for both). If the process dies after the commit, the
// wish has happened; asking again finds it so.
//
// All methods may be called concurrently. The package starts no goroutines.
package control
