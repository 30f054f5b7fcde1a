// Package keyring answers: where are the secrets, and are they the right ones?
//
// The secrets that the ledger must not hold live here: the pepper (handles,
// personal pseudonyms), the key-wrapping key (signing keys at rest), and two
// signing keys of control's own, for the state log and for the audit log. Each is
// a file of the secrets directory, or comes from the environment through Options;
// losing them is losing the ledger's use, so back them up apart from it.
//
// A Keyring is safe for concurrent use and does no I/O after Open.
package keyring

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintmark/mintmark"
)

// Errors of opening and unwrapping.
var (
	// ErrMissing: a secret's file is not there.
	ErrMissing = errors.New("secret is missing")
	// ErrWrong: the secret is there but not the one that this ledger was made with.
	ErrWrong = errors.New("wrong secret")
	// ErrOpen: a sealed value was altered, or sealed for another context.
	ErrOpen = errors.New("sealed value does not open")
)

// Names of the files in the secrets directory.
const (
	PepperFile = "pepper"
	KEKFile    = "kek"
	StateFile  = "state.key"
	AuditFile  = "audit.key"
)

const secretSize = 32

// Options says where secrets come from.
type Options struct {
	// Dir is the secrets directory, made with mode 0700.
	Dir string
	// Pepper and KEK, when not zero, replace the files: base64url or hex of 32
	// bytes (from MINTMARK_PEPPER and MINTMARK_KEK, say).
	Pepper, KEK mintmark.Secret
	// Random makes new secrets and nonces.
	Random io.Reader
}

// Keyring holds opened secrets.
type Keyring struct {
	pepper, kek []byte
	state       ed25519.PrivateKey
	audit       ed25519.PrivateKey
	random      io.Reader
	hashing     chan struct{} // bounds concurrent password hashes
}

// Init makes the secrets that are missing and opens the keyring. Files that exist
// are kept: it is safe to repeat.
func Init(o Options) (*Keyring, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make secrets directory: %w", err)
	}
	for _, s := range []struct {
		file  string
		given mintmark.Secret
	}{{PepperFile, o.Pepper}, {KEKFile, o.KEK}, {StateFile, mintmark.Secret{}}, {AuditFile, mintmark.Secret{}}} {
		if !s.given.IsZero() {
			continue
		}
		if err := makeSecret(filepath.Join(o.Dir, s.file), o.Random); err != nil {
			return nil, err
		}
	}
	return Open(o)
}

// makeSecret writes a new secret unless there is one. It is written beside and
// linked into place, so that a death in between leaves none or a whole one.
func makeSecret(name string, random io.Reader) error {
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	var b [secretSize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.WriteString(base64.RawURLEncoding.EncodeToString(b[:]) + "\n"); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Link(tmp.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", name, err)
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	defer dir.Close()
	return dir.Sync()
}

// Open reads the secrets. It makes none.
func Open(o Options) (*Keyring, error) {
	k := &Keyring{random: o.Random, hashing: make(chan struct{}, maxHashing)}
	var seeds [4][]byte
	for i, s := range []struct {
		file  string
		given mintmark.Secret
		env   string
	}{{PepperFile, o.Pepper, "MINTMARK_PEPPER"}, {KEKFile, o.KEK, "MINTMARK_KEK"}, {StateFile, mintmark.Secret{}, ""}, {AuditFile, mintmark.Secret{}, ""}} {
		b, err := secret(filepath.Join(o.Dir, s.file), s.given, s.env)
		if err != nil {
			return nil, err
		}
		seeds[i] = b
	}
	k.pepper, k.kek = seeds[0], seeds[1]
	k.state, k.audit = ed25519.NewKeyFromSeed(seeds[2]), ed25519.NewKeyFromSeed(seeds[3])
	return k, nil
}

// secret reads one secret from where it is given, or from its file.
func secret(name string, given mintmark.Secret, env string) ([]byte, error) {
	if !given.IsZero() {
		b, err := parseSecret(given.Reveal())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", env, err)
		}
		return b, nil
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: restore it from your backup of the secrets directory; for a new installation run mintmark init", name, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: mode %v lets others read it: run chmod 600 on it", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	b, err := parseSecret(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// parseSecret reads 32 bytes in base64url or hex. Its errors never show the text.
func parseSecret(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == secretSize {
		return b, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(b) != secretSize {
		return nil, fmt.Errorf("%w: want 32 bytes in base64url or hex", ErrWrong)
	}
	return b, nil
}

// Handle returns what the ledger stores of an opaque value: HMAC-SHA-256 under
// the pepper of the value's SHA-256, so that a copy of the ledger alone tests no
// guess.
func (k *Keyring) Handle(digest []byte) []byte {
	m := hmac.New(sha256.New, k.pepper)
	m.Write([]byte("mintmark-handle-v1\x00"))
	m.Write(digest)
	return m.Sum(nil)
}

// Derive returns a 32-byte key for one purpose, from the pepper. Purposes are
// names like "dpop-nonce-v1", never input.
func (k *Keyring) Derive(purpose string) []byte { return derive(k.pepper, "mintmark/derive/"+purpose) }

// StateKey signs the state log's rows, snapshots and receipts.
func (k *Keyring) StateKey() ed25519.PrivateKey { return k.state }

// AuditKey signs the audit log's checkpoints, and nothing else.
func (k *Keyring) AuditKey() ed25519.PrivateKey { return k.audit }

// KeyID names a public key of this keyring: the first 16 hex digits of its hash.
func KeyID(key crypto.PublicKey) string {
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return ""
	}
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:8])
}

// Seal encrypts under the key-wrapping key, bound to a context: what was sealed
// for one does not open for another.
func (k *Keyring) Seal(context string, plain []byte) ([]byte, error) {
	return seal(k.random, derive(k.kek, "mintmark/seal/"+context), context, plain)
}

// Open decrypts what Seal made for the same context.
func (k *Keyring) Open(context string, sealed []byte) ([]byte, error) {
	return unseal(derive(k.kek, "mintmark/seal/"+context), context, sealed)
}

// SealAnswer encrypts the answer to a refresh under a key that only whoever
// presents the predecessor again can derive (with our pepper): the ledger alone
// cannot open it.
func (k *Keyring) SealAnswer(predecessor mintmark.Secret, family mintmark.FamilyID, answer []byte) ([]byte, error) {
	return seal(k.random, k.answerKey(predecessor), "answer/"+string(family), answer)
}

// OpenAnswer decrypts what SealAnswer made.
func (k *Keyring) OpenAnswer(predecessor mintmark.Secret, family mintmark.FamilyID, sealed []byte) ([]byte, error) {
	return unseal(k.answerKey(predecessor), "answer/"+string(family), sealed)
}

func (k *Keyring) answerKey(predecessor mintmark.Secret) []byte {
	key, err := hkdf.Key(sha256.New, []byte(predecessor.Reveal()), k.pepper, "mintmark/answer/v1", secretSize)
	if err != nil {
		panic(err) // the length is constant and legal
	}
	return key
}

func derive(secret []byte, info string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, info, secretSize)
	if err != nil {
		panic(err) // the length is constant and legal
	}
	return key
}

// sealVersion starts every sealed value, so that the form can change.
const sealVersion = 1

// seal returns version ‖ nonce ‖ AES-256-GCM(plain), bound to context. Random
// nonces are safe here: a key seals far fewer than 2^32 values.
func seal(random io.Reader, key []byte, context string, plain []byte) ([]byte, error) {
	aead := gcm(key)
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = sealVersion
	if _, err := io.ReadFull(random, out[1:]); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return aead.Seal(out, out[1:], plain, []byte(context)), nil
}

func unseal(key []byte, context string, sealed []byte) ([]byte, error) {
	aead := gcm(key)
	n := 1 + aead.NonceSize()
	if len(sealed) < n+aead.Overhead() || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: %d bytes", ErrOpen, len(sealed))
	}
	plain, err := aead.Open(nil, sealed[1:n], sealed[n:], []byte(context))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys are 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES always fits
	}
	return aead
}
