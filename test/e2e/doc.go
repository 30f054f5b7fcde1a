// Package e2e answers whether Mintmark keeps its word to programs that others
// wrote: OAuth and OpenID clients, foreign issuers, web servers, gRPC. Everything
// here runs against the real binary, over real sockets, and looks at nothing else
// than what a stranger could see. It is a module of its own, so that what only
// these tests need stays out of the product's dependencies.
package e2e
