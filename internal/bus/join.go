package bus

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// JoinRequest asks for a gateway's own credential against a one-time join token.
// It travels over the admin API, not over the bus.
type JoinRequest struct {
	V       int                `json:"v"`
	Token   mintmark.Secret    `json:"-"` // sent as the bearer token of the request
	Gateway mintmark.GatewayID `json:"gateway"`
	// NKey is the public key (NATS user NKEY) of a pair that the gateway made and
	// whose seed never leaves it.
	NKey    string `json:"nkey"`
	Version string `json:"version,omitempty"`
}

// JoinReply tells a gateway where the bus is and whom to believe.
type JoinReply struct {
	V       int                `json:"v"`
	Gateway mintmark.GatewayID `json:"gateway"`
	Bus     string             `json:"bus"` // tls://host:port
	// CA is the PEM certificate authority of the bus's certificate.
	CA string `json:"ca"`
	// StateKeys are the Ed25519 public keys that sign the state log, by key id.
	StateKeys map[string][]byte `json:"state_keys"`
	// LeaseMS is the lease that control grants, in milliseconds.
	LeaseMS int64 `json:"lease_ms"`
}

// ErrJoin reports a join token that is malformed, or an answer that is not from
// the control plane that made it.
var ErrJoin = errors.New("bus: join refused")

const joinPrefix = "mmj_"

// NewJoinToken returns the text of a join token: a secret, and a pin of the keys
// and authority that the answer must name, so that a gateway that joins over an
// unauthenticated path can't be adopted by somebody else.
func NewJoinToken(secret [24]byte, reply JoinReply) mintmark.Secret {
	pin := joinPin(reply)
	return mintmark.NewSecret(joinPrefix + base64.RawURLEncoding.EncodeToString(secret[:]) + "." + base64.RawURLEncoding.EncodeToString(pin[:16]))
}

// CheckJoinToken reports whether text has the form of a join token.
func CheckJoinToken(text string) error {
	body, ok := strings.CutPrefix(text, joinPrefix)
	secret, pin, dot := strings.Cut(body, ".")
	if s, err := base64.RawURLEncoding.Strict().DecodeString(secret); !ok || !dot || err != nil || len(s) != 24 {
		return fmt.Errorf("%w: not a join token; make one with `mintmark gateway invite`", ErrJoin)
	}
	if p, err := base64.RawURLEncoding.Strict().DecodeString(pin); err != nil || len(p) != 16 {
		return fmt.Errorf("%w: not a join token; make one with `mintmark gateway invite`", ErrJoin)
	}
	return nil
}

// CheckJoinReply reports whether reply is from the control plane that made the
// token.
func CheckJoinReply(token mintmark.Secret, reply JoinReply) error {
	if err := CheckJoinToken(token.Reveal()); err != nil {
		return err
	}
	_, text, _ := strings.Cut(token.Reveal(), ".")
	want, _ := base64.RawURLEncoding.DecodeString(text)
	got := joinPin(reply)
	if subtle.ConstantTimeCompare(want, got[:16]) != 1 {
		return fmt.Errorf("%w: the answer names other keys than the join token: something between here and control answers in its place", ErrJoin)
	}
	return nil
}

// joinPin hashes what a gateway will trust: the authority and the state keys in
// the order of their ids.
func joinPin(reply JoinReply) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "mintmark-join-v1\n%d:%s", len(reply.CA), reply.CA)
	for _, id := range slices.Sorted(maps.Keys(reply.StateKeys)) {
		fmt.Fprintf(h, "%d:%s%x\n", len(id), id, reply.StateKeys[id])
	}
	return [32]byte(h.Sum(nil))
}
