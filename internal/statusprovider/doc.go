// Package statusprovider answers, over HTTP, for those who verify our tokens
// without a gateway: which of them still hold? It is the Status Provider of the
// Token Status List draft (draft-ietf-oauth-status-list-18).
//
// What a token's status is, is decided by the same judgement as everywhere (Judge):
// a list is a view of the ledger and of the state in force, and holds nothing of its
// own. It is made when somebody asks: one pass over the tokens of one release and
// one hour of expiry makes all lists of that hour, and is kept until the state log
// moves. So a rollback or revocation costs the lists that somebody reads, each
// once, and never the other tokens; who asks often meets what is kept.
//
// A list is at most debounce old against the state log, and its TTL old against the
// clock; gateways do not read it and are not held up by it. It disappears when the
// last token in it is over.
//
// A Provider is safe for concurrent use and starts no goroutines.
package statusprovider
