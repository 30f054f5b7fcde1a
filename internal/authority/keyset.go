package authority

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/mintmark/mintmark/internal/jose"
)

// States of a signing key. A key becomes active only after every leased gateway
// acknowledged it as pending; it goes on verifying until no live token needs it.
const (
	KeyPending   = "pending"
	KeyActive    = "active"
	KeyVerifying = "verifying"
	KeyRetired   = "retired"
)

// SigningKey is the body of the ledger document key/<kid>. Its private part is
// wrapped by the keyring, bound to the kid.
type SigningKey struct {
	ID    string          `json:"kid"`
	Alg   string          `json:"alg"`
	State string          `json:"state"`
	JWK   json.RawMessage `json:"jwk"`
	// Wrapped is absent once retired.
	Wrapped []byte `json:"wrapped,omitempty"`
	// Times are Unix seconds.
	Created   int64  `json:"created"`
	Activated int64  `json:"activated,omitempty"`
	Replaced  int64  `json:"replaced,omitempty"`
	Retired   int64  `json:"retired,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// WhenSafe is set while somebody wants it retired once no token needs it.
	WhenSafe *KeyWish `json:"when_safe,omitempty"`
}

// keyEntry is a signing key in memory.
type keyEntry struct {
	SigningKey
	version uint64
	signer  *jose.Signer
}

func (k *keyEntry) sign(typ string, claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	value, err := k.signer.Sign(rand.Reader, typ, payload)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.ID, err)
	}
	return value, nil
}

// keySet is the keys that are not retired, replaced as a whole.
type keySet struct {
	mu   sync.RWMutex
	keys []*keyEntry // guarded by mu; the slice is never changed in place
}

func (s *keySet) list() []*keyEntry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys
}

func (s *keySet) set(keys []*keyEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// active returns the active key of an algorithm, else any active key: a policy's
// alg is a wish, what verifies is the key's own.
func (s *keySet) active(alg string) (*keyEntry, error) {
	var other *keyEntry
	for _, k := range s.list() {
		if k.State != KeyActive {
			continue
		}
		if k.Alg == alg {
			return k, nil
		}
		if other == nil {
			other = k
		}
	}
	if other == nil {
		return nil, ErrNoKey
	}
	return other, nil
}

func (s *keySet) byID(kid string) *keyEntry {
	for _, k := range s.list() {
		if k.ID == kid {
			return k
		}
	}
	return nil
}
