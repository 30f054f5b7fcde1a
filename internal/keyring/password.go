package keyring

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/mintmark/mintmark"
)

// Parameters of new password hashes: RFC 9106 §4's second recommendation with
// less memory and one more pass, so that a flood of logins stays bounded.
const (
	argonTime    = 3
	argonMemory  = 32 << 10 // KiB
	argonThreads = 2
	argonKey     = 32
	argonSalt    = 16

	// maxHashing bounds hashes computed at once, and with them memory.
	maxHashing = 4
	// maxPassword bounds what is hashed.
	maxPassword = 1024
)

// ErrPassword reports a password that cannot be hashed or a hash that cannot be
// read; a password that merely does not match is no error.
var ErrPassword = errors.New("bad password")

// HashPassword returns an argon2id hash in its usual text form. It waits while
// others are computed; ctx bounds the wait.
func (k *Keyring) HashPassword(ctx context.Context, password mintmark.Secret) (string, error) {
	if n := len(password.Reveal()); n == 0 || n > maxPassword {
		return "", fmt.Errorf("%w: want 1 to %d bytes", ErrPassword, maxPassword)
	}
	var salt [argonSalt]byte
	if _, err := io.ReadFull(k.random, salt[:]); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	p := argonParams{time: argonTime, memory: argonMemory, threads: argonThreads, salt: salt[:]}
	key, err := k.argon(ctx, password, p, argonKey)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, b64(p.salt), b64(key)), nil
}

// VerifyPassword reports whether the password is the hash's. An empty hash is
// compared with all the same effort, so that an unknown user takes as long.
func (k *Keyring) VerifyPassword(ctx context.Context, hash string, password mintmark.Secret) (bool, error) {
	if len(password.Reveal()) > maxPassword {
		return false, nil
	}
	if hash == "" {
		p := argonParams{time: argonTime, memory: argonMemory, threads: argonThreads, salt: make([]byte, argonSalt)}
		_, err := k.argon(ctx, password, p, argonKey)
		return false, err
	}
	p, want, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	have, err := k.argon(ctx, password, p, uint32(len(want)))
	return err == nil && subtle.ConstantTimeCompare(have, want) == 1, err
}

type argonParams struct {
	time, memory uint32
	threads      uint8
	salt         []byte
}

func (k *Keyring) argon(ctx context.Context, password mintmark.Secret, p argonParams, size uint32) ([]byte, error) {
	select {
	case k.hashing <- struct{}{}:
		defer func() { <-k.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password.Reveal()), p.salt, p.time, p.memory, p.threads, size), nil
}

// parseHash reads the text form. Costs are bounded: a hash from a hostile backup
// must not cost gigabytes.
func parseHash(hash string) (p argonParams, key []byte, err error) {
	bad := func(why string) (argonParams, []byte, error) {
		return argonParams{}, nil, fmt.Errorf("%w: hash: %s", ErrPassword, why)
	}
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad("want $argon2id$v=19$m=…,t=…,p=…$salt$key")
	}
	n, err := fmt.Sscanf(parts[3]+"$", "m=%d,t=%d,p=%d$", &p.memory, &p.time, &p.threads)
	if err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", p.memory, p.time, p.threads) {
		return bad("costs")
	}
	if p.memory < 8 || p.memory > 1<<20 || p.time < 1 || p.time > 64 || p.threads < 1 || p.threads > 64 {
		return bad("costs out of range")
	}
	b64 := base64.RawStdEncoding.Strict()
	if p.salt, err = b64.DecodeString(parts[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return bad("salt")
	}
	if key, err = b64.DecodeString(parts[5]); err != nil || len(key) < 16 || len(key) > 64 {
		return bad("key")
	}
	return p, key, nil
}
