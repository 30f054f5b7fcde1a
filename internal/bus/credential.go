package bus

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/mintmark/mintmark"
)

// A gateway's credential is an NKEY pair of its own making; control knows the
// public keys. It is good for a while only and replaced in two steps, each of
// which may be asked for any number of times:
//
//  1. The gateway makes the next pair, writes it down beside the one in use, and
//     asks with a signature of each. Control writes down the next key: from then
//     on both are accepted, until the credential's end, which stays.
//  2. The gateway connects with the next key and confirms. Control makes it the
//     only one and starts a new lifetime; then the gateway forgets the old.
//
// Whoever dies in between finds both keys on the gateway's disk, of which control
// accepts one or both.

// CredentialRequest asks for step 1, or with Confirm for step 2.
type CredentialRequest struct {
	V       int                `json:"v"`
	Gateway mintmark.GatewayID `json:"gateway"`
	Old     string             `json:"old"` // public user NKEY in use
	New     string             `json:"new"` // public user NKEY to follow it
	Confirm bool               `json:"confirm,omitempty"`
	// OldSig and NewSig are base64url Ed25519 signatures over Message; a
	// confirmation has NewSig only.
	OldSig string `json:"old_sig,omitempty"`
	NewSig string `json:"new_sig"`
}

// CredentialReply answers CredentialRequest. OK says that the step is durable.
type CredentialReply struct {
	V  int  `json:"v"`
	OK bool `json:"ok"`
	// Reason says why not; Error that control does not know now and may be asked
	// again.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ErrCredential reports a request for another credential whose keys or signatures
// are no good.
var ErrCredential = errors.New("bus: credential refused")

// Message is what the request's signatures cover.
func (r *CredentialRequest) Message() []byte {
	step := "follow"
	if r.Confirm {
		step = "confirm"
	}
	return fmt.Appendf(nil, "mintmark-credential-v1\n%s\n%s\n%s\n%s\n", step, r.Gateway, r.Old, r.New)
}

// Check reports whether both keys are user NKEYs, different, and the request
// proves that the sender holds the new one and, at the first step, the old one.
func (r *CredentialRequest) Check() error {
	if err := errors.Join(CheckNKey(r.Old), CheckNKey(r.New)); err != nil {
		return err
	}
	if r.Old == r.New {
		return fmt.Errorf("%w: the new key is the old one", ErrCredential)
	}
	if err := r.verify(r.New, r.NewSig); err != nil {
		return fmt.Errorf("%w: new key: %w", ErrCredential, err)
	}
	if r.Confirm {
		return nil
	}
	if err := r.verify(r.Old, r.OldSig); err != nil {
		return fmt.Errorf("%w: old key: %w", ErrCredential, err)
	}
	return nil
}

func (r *CredentialRequest) verify(nkey, text string) error {
	sig, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	pub, err := nkeys.FromPublicKey(nkey)
	if err != nil {
		return err
	}
	return pub.Verify(r.Message(), sig)
}

// CheckNKey reports whether text is a public user NKEY.
func CheckNKey(text string) error {
	if len(text) != 56 || !strings.HasPrefix(text, "U") || !nkeys.IsValidPublicUserKey(text) {
		return fmt.Errorf("%w: not a user NKEY", ErrCredential)
	}
	return nil
}
