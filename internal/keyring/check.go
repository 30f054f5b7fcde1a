package keyring

import (
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/json"
	"fmt"
)

// CheckDocument is the id of the setting that holds a ledger's Check.
const CheckDocument = "keyring"

// Check is what a ledger keeps to recognise its secrets by. It tells nothing
// about them. Members are added, never renamed.
type Check struct {
	Pepper []byte `json:"pepper"`
	KEK    []byte `json:"kek"`
	State  []byte `json:"state"` // public key
	Audit  []byte `json:"audit"` // public key
}

// Check returns this keyring's check, as the document to keep.
func (k *Keyring) Check() ([]byte, error) {
	return json.Marshal(k.check())
}

func (k *Keyring) check() Check {
	return Check{
		Pepper: derive(k.pepper, "mintmark/check/pepper"),
		KEK:    derive(k.kek, "mintmark/check/kek"),
		State:  k.state.Public().(ed25519.PublicKey),
		Audit:  k.audit.Public().(ed25519.PublicKey),
	}
}

// Matches compares the secrets with those that the ledger was made with. ErrWrong
// names the secret, so that a wrong one is one clear error at start instead of a
// failure of every token.
func (k *Keyring) Matches(stored []byte) error {
	var want Check
	if err := json.Unmarshal(stored, &want); err != nil {
		return fmt.Errorf("the ledger's check of secrets: %w", err)
	}
	have := k.check()
	for _, c := range []struct {
		name, file, env string
		have, want      []byte
	}{
		{"pepper", PepperFile, "MINTMARK_PEPPER", have.Pepper, want.Pepper},
		{"key-wrapping key", KEKFile, "MINTMARK_KEK", have.KEK, want.KEK},
		{"state key", StateFile, "", have.State, want.State},
		{"audit key", AuditFile, "", have.Audit, want.Audit},
	} {
		if hmac.Equal(c.have, c.want) {
			continue
		}
		where := "the file " + c.file + " of the secrets directory"
		if c.env != "" {
			where += " (or " + c.env + ")"
		}
		return fmt.Errorf("%w: the %s in %s is not the one that this ledger was made with; put back the right one from your backup, nothing was changed", ErrWrong, c.name, where)
	}
	return nil
}
