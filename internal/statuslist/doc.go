// Package statuslist prints and reads Token Status Lists (IETF draft
// draft-ietf-oauth-status-list-18): many tokens' statuses as bits of one byte
// array, compressed and signed, for those who verify tokens on their own.
//
// List is the array, Token the signed form ("statuslist+jwt"), Reference the
// claim of a token that points into one, and Layout says in which list, and where
// in it, a token of ours has its place.
//
// Everything read from others is bounded before it costs anything: the text, the
// array after decompression, and the index. The package does no I/O and knows no
// time; what it returns is not shared with what was passed in.
package statuslist
