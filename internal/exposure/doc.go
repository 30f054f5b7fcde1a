// Package exposure answers, at a gateway or the authority: which subjects met a
// service that is in a rollout, and which of them fared badly for the first time?
//
// A Meter is told of every request after its answer. For services without an open
// rollout it counts the answer's duration in a bucket and nothing else. For the
// others it knows every subject it has reported, so that each is reported once per
// metric, in bounded memory: when that is full, half of the subjects are not
// followed any more (health.Followed), alike in both arms. What is new rides in the
// next batch of records.
//
// Reports that are lost cost evidence, never truth: an exposure or failure that
// control does not hear of is missing in whichever arm it fell. Reports that come
// twice change nothing.
package exposure
