// Package api answers "what does one say to Mintmark's admin API, and what does
// it say back": the messages, the stable problem codes, the exit codes they map
// to, and a client.
//
// The package depends on the standard library and the words only, so that other
// programs can import it. Messages evolve by addition: a member is never renamed,
// retyped or reused, and both sides ignore members they do not know. A Client is
// safe for concurrent use.
package api
