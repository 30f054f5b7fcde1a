package verifier

// nhWhole is nhPortable of chunks times 64 bytes from m on, with as much key from
// k on and two words more; see nh_amd64.s. It takes some two thirds of the time.
//
//go:noescape
func nhWhole(m *byte, k *uint64, chunks int) (a, b wide)

// nhChunks is both sums of the whole chunks of value.
func (h *hasher) nhChunks(value []byte) (a, b wide) {
	if chunks := min(len(value)/chunk, maxWords/(chunk/8)); chunks > 0 {
		return nhWhole(&value[0], &h.words[0], chunks)
	}
	return a, b
}
