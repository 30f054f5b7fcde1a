//go:build race

package sequential_test

// raced: the race detector makes everything ten times slower, and finds nothing here
// that fewer runs would not show.
const raced = true
