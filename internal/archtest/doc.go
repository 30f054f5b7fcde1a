// Package archtest answers whether the house rules hold: which package may import
// which, what the pure layers and the data plane must not reach, that every
// package says what it is for, which modules the binary links, and that sizes only
// go down. It has tests only.
//
//	go test ./internal/archtest -update
//
// rewrites the golden files: arrows and modules as they are, sizes only where they
// shrank.
package archtest
