// Package receipt answers whether receipts and state-log rows are what control
// signed, without asking control: with its public keys and the text alone.
//
// Verify checks one receipt. Check reads an export (Writer's output: JSON lines,
// ended by a line that counts them) and proves every signature, that rows with
// consecutive numbers are chained by hash, and that each receipt names the row
// that made it happen. docs/receipts.md describes the bytes, with vectors in
// testdata that other implementations can test against.
//
// Input is hostile: sizes and nesting are bounded, duplicate members, bad UTF-8
// and text after the end are refused, because a second reader could see another
// receipt in them than the one that was verified. Nothing here keeps state beyond
// one call; functions may be used from several goroutines.
package receipt
