// Package fleet is control's side of the state log. It answers: what is in force,
// who follows it, and how far has it come?
//
// A Fleet is the only writer of the state log. A change is durable in the ledger
// first: that is the moment it happened. Only then does it enter the snapshot that
// this process decides by, and only then is it sent to the gateways. Dying between
// any two of these steps loses nothing: at the next start the snapshot is built
// from the ledger, and gateways ask for the rows they miss.
//
// It keeps the members and their leases (lease.go), and tells from those alone how
// far a row has reached (barrier.go): a gateway is applied when it said so, and
// fenced when the longest budget it may still decide by is provably over, on
// clocks that nobody synchronised. Term numbers grow with every start.
//
// All exported methods may be called concurrently after Open has returned.
package fleet
