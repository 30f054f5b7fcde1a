package auditlog

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrCheckpoint reports a checkpoint that is malformed or not signed by the key.
var ErrCheckpoint = errors.New("auditlog: bad checkpoint")

// Checkpoint is a signed statement: the tree had this many leaves and this root.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
}

// Signer signs checkpoints (https://c2sp.org/tlog-checkpoint) with the log's own
// Ed25519 key. It is safe for concurrent use.
type Signer struct {
	origin string
	key    ed25519.PrivateKey
	id     uint32
}

// NewSigner returns a signer for the log named origin: one line, no spaces or
// plus signs.
func NewSigner(origin string, key ed25519.PrivateKey) (*Signer, error) {
	if origin == "" || strings.ContainsAny(origin, "+ \n\t") || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("auditlog: bad origin %.60q or key", origin)
	}
	return &Signer{origin, key, keyID(origin, key.Public().(ed25519.PublicKey))}, nil
}

// Name implements note.Signer.
func (s *Signer) Name() string { return s.origin }

// KeyHash implements note.Signer.
func (s *Signer) KeyHash() uint32 { return s.id }

// Sign implements note.Signer.
func (s *Signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// Checkpoint returns the signed note for a tree.
func (s *Signer) Checkpoint(size uint64, root tlog.Hash) ([]byte, error) {
	text := s.origin + "\n" + strconv.FormatUint(size, 10) + "\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	return note.Sign(&note.Note{Text: text}, s)
}

// Verifier opens checkpoints of one log.
type Verifier struct {
	origin string
	key    ed25519.PublicKey
	id     uint32
}

// NewVerifier returns a verifier of the log named origin.
func NewVerifier(origin string, key ed25519.PublicKey) (*Verifier, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, errors.New("auditlog: bad public key")
	}
	return &Verifier{origin, key, keyID(origin, key)}, nil
}

// Name implements note.Verifier.
func (v *Verifier) Name() string { return v.origin }

// KeyHash implements note.Verifier.
func (v *Verifier) KeyHash() uint32 { return v.id }

// Verify implements note.Verifier.
func (v *Verifier) Verify(msg, sig []byte) bool { return ed25519.Verify(v.key, msg, sig) }

// Open checks a signed checkpoint and returns what it states.
func (v *Verifier) Open(signed []byte) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != v.origin {
		return Checkpoint{}, fmt.Errorf("%w: of log %.60q, want %.60q", ErrCheckpoint, c.Origin, v.origin)
	}
	return c, nil
}

// ParseCheckpoint reads a checkpoint's text without its signatures. Extension
// lines after the root are ignored, as the form asks.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: want origin, size and root, a line each", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size %.40q", ErrCheckpoint, lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: root %.60q", ErrCheckpoint, lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}, nil
}

// keyID is the note form's key hash for Ed25519 (algorithm 1).
func keyID(name string, key ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n\x01"))
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}
