// Package analysis answers: how healthy is the candidate of each open rollout now?
//
// What gateways and the authority see stands on one stream of the ledger
// (health.Stream), in the order in which it became durable. A rollout's judge is a
// fold over that stream from where the rollout began: nothing is lost over a
// restart and nothing counts twice, because there is no other record of what was
// counted. Snapshots, documents of the ledger, only shorten the way; one that is
// missing or damaged costs time.
//
// One goroutine (Run) folds; Health may be asked by any number.
package analysis
