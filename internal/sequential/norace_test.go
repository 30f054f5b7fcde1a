//go:build !race

package sequential_test

const raced = false
