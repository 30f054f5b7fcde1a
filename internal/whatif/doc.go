// Package whatif answers: what would another policy change, and for whom?
//
// Compare says it of resources: what differs by meaning, and which services,
// releases and clients depend on it. Simulate says it of traffic: it lets the
// recorded shapes of requests be judged again by the table of a candidate, by the
// same admission.Decide that gateways call. A Shape holds no token, no subject and no
// path: what it can't tell, such as whether a signature was good, is taken to be as
// it was, and counted as such.
//
// Everything here is pure but for Reservoir, which is safe for concurrent use.
package whatif
