// Package authority answers who may hold which token, and what is in it: it is
// our own OAuth 2 and OpenID Connect core, as an http.Handler and a few methods
// for the other roles of the control plane.
//
// # Invariants
//
// Every transition of a token is one ledger append: the rows that a decision was
// made against are pinned by their stream versions, the state log by
// Batch.AsOf, single-use marks by Batch.Once. A conflict means reload and decide
// again; nothing is answered before the append is durable. If the process dies
// before the append nothing happened; if it dies after, the client's retry finds
// the successor sealed for it (refresh), or a used code (and asks again).
//
// Whether a token stands is decided by one method, standing, on every path:
// introspection, refresh, exchange, userinfo, look-ups by gateways.
//
// Tokens are minted under the release in whose cohort the subject is now, and in
// a shape that every leased gateway has already accepted ("accept before mint").
//
// # Concurrency
//
// An Authority is safe for concurrent use. New starts nothing; Run owns the
// rotation of signing keys and returns with its context.
//
// # Sources
//
// RFC 6749, 6750, 7009, 7521, 7523, 7636, 7662, 8414, 8628, 8693, 8705, 8707,
// 9068, 9101 (request_uri only by PAR), 9126, 9207, 9449, 9700; OpenID Connect
// Core and Discovery 1.0. Where a profile is stricter (FAPI 2.0), we follow it:
// PKCE S256 for every client, no implicit or password grant, exact redirect URIs.
package authority
