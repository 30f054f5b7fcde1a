// Package gateway answers HTTP requests: it decides each from memory by one pinned
// snapshot and, when admitted, carries it to the release that serves it.
//
// The order of things, for one request:
//
//  1. framing: refused by the connection (see arrival.Server) or by net/http when two
//     parsers could read it differently;
//  2. pin a snapshot, match the route, find the credential, verify, decide
//     (Decider, which other gateways' dialects ask too);
//  3. strip every header that could be taken for ours, inject identity;
//  4. obtain a connection upstream, decide once more against the state of that
//     moment (exchange.Pass), and only then send the first byte;
//  5. copy the answer down, still registered by token, so that Cut ends it when a
//     later state refuses the token.
//
// Invariants: default deny; one request, one epoch (a request whose epoch changes
// before its first byte starts over under the new one); what the gateway cannot
// know is 503 with Retry-After, never 401; no token value is logged, counted or
// kept. Everything that grows with traffic is bounded.
//
// A Gateway is safe for concurrent use and owns no goroutine but those of its
// requests and of questions to control, which are bounded in time.
package gateway
