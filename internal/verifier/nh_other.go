//go:build !amd64

package verifier

// nhChunks is both sums of the whole chunks of value.
func (h *hasher) nhChunks(value []byte) (a, b wide) { return h.nhPortable(value) }
