package receipt

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Keys are control's public state keys by key id. Whoever verifies must have them
// from control itself or from somebody trusted, never from beside the receipt.
type Keys map[string]ed25519.PublicKey

// maxKeys is far above how many state keys one control ever has.
const maxKeys = 1000

// KeyID is the id of a state key: the first 16 hex digits of SHA-256 of its 32
// bytes.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// ParseKey reads an Ed25519 public key in base64url. The error is ErrFormat.
func ParseKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: not an Ed25519 public key in base64url (43 characters)", ErrFormat)
	}
	return b, nil
}

// ParseKeys reads a file of public keys: a JSON object whose member "state_keys"
// holds base64url keys by key id, as `mintmark receipt keys` writes it and the
// admin API's status has it; or one bare key in base64url. The error is ErrFormat.
func ParseKeys(text []byte) (Keys, error) {
	trimmed := strings.TrimSpace(string(text))
	if !strings.HasPrefix(trimmed, "{") {
		key, err := ParseKey(trimmed)
		if err != nil {
			return nil, fmt.Errorf("state keys: %w", err)
		}
		return Keys{KeyID(key): key}, nil
	}
	members, err := object(text)
	if err != nil {
		return nil, fmt.Errorf("state keys: %w", err)
	}
	stated, ok := members["state_keys"].(map[string]any)
	if !ok || len(stated) == 0 || len(stated) > maxKeys {
		return nil, fmt.Errorf(`state keys: %w: want {"state_keys":{"KID":"KEY",…}} with 1 to %d keys`, ErrFormat, maxKeys)
	}
	keys := make(Keys, len(stated))
	for kid, v := range stated {
		s, _ := v.(string)
		key, err := ParseKey(s)
		if err != nil {
			return nil, fmt.Errorf("state keys: %.80q: %w", kid, err)
		}
		if KeyID(key) != kid {
			return nil, fmt.Errorf("state keys: %w: the key given for %.80q is %s: one of both is wrong", ErrFormat, kid, KeyID(key))
		}
		keys[kid] = key
	}
	return keys, nil
}

func (k Keys) find(kid string) (ed25519.PublicKey, error) {
	if pub := k[kid]; len(pub) == ed25519.PublicKeySize {
		return pub, nil
	}
	return nil, fmt.Errorf("%w: %.80q is not among the %d keys given", ErrKey, kid, len(k))
}
