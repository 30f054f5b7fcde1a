// Package testkit answers, in a test or a pipeline, whether a service treats
// tokens as it must: it starts a real authority whose clock the test moves, mints
// good and broken tokens, revokes, rotates keys and switches releases, and plays
// scenarios written in YAML against the service.
//
// It is the product's own code on a ledger in a temporary directory: the authority
// of internal/authority mints, revokes and introspects, and the gateway of
// internal/gateway stands in front of the service where a scenario asks for it. It
// is for tests only: it listens on loopback, its keys die with it, and it mints
// whatever it is asked for.
//
// # Time
//
// The issuer's clock is the machine's, moved ahead by [Issuer.Advance]; nothing ever
// sleeps. A service under test, in whatever language, has a clock of its own that
// cannot be moved. So a token is translated when it is presented: [Issuer.Present]
// signs it again, under the key that signed it first, with all its times moved back
// by as much as the issuer's clock was moved ahead. After a wait of ten minutes the
// service sees the same token (the same jti) ten minutes older. Introspection and
// the gateway translate back. A service that goes by [Issuer.Now] takes [Token.Value]
// as it is.
//
// # Concurrency
//
// An Issuer is safe for concurrent use; the goroutines that Start starts end in
// Close. Issuers share nothing: tests may run in parallel, each with its own.
//
// Sources: RFC 6750, 7519, 7662, 8725, 9068.
package testkit
