package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"

	"github.com/mintmark/mintmark/internal/web"
)

// traceOf returns the client's W3C trace context when it is well-formed, else a
// new one that is not sampled.
func traceOf(h http.Header) string {
	if v := h["Traceparent"]; len(v) == 1 && web.ValidTraceparent(v[0]) {
		return v[0]
	}
	// Identifiers, not secrets: speed matters more than unpredictability.
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], rand.Uint64())
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())
	binary.BigEndian.PutUint64(b[16:], rand.Uint64()|1)
	var out [55]byte
	copy(out[:], "00-")
	hex.Encode(out[3:], b[:16])
	out[35] = '-'
	hex.Encode(out[36:], b[16:])
	copy(out[52:], "-00")
	return string(out[:])
}

func traceID(traceparent string) string {
	if len(traceparent) < 35 {
		return ""
	}
	return traceparent[3:35]
}
