package config

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintmark/mintmark"
)

// Source says where a secret comes from: a file or an environment variable,
// never the configuration itself and never an argument.
type Source struct {
	File string `json:"file,omitempty" jsonschema:"File that holds the secret; surrounding white space is dropped. It must not be readable by others."`
	Env  string `json:"env,omitempty" jsonschema:"Environment variable that holds the secret."`
}

// IsZero reports whether no source is named.
func (s Source) IsZero() bool { return s == Source{} }

// String names the source, never the secret.
func (s Source) String() string {
	if s.File != "" {
		return "file " + s.File
	}
	return "environment variable " + s.Env
}

// ErrNoSecret reports a source that holds nothing.
var ErrNoSecret = errors.New("no secret there")

// maxSecret bounds a secret, in bytes.
const maxSecret = 64 << 10

// Read returns the secret. A file that others may read is refused: a secret that
// leaked through its permissions is no secret.
func (s Source) Read(getenv func(string) string) (mintmark.Secret, error) {
	text := ""
	switch {
	case s.File != "":
		f, err := os.Open(s.File)
		if err != nil {
			return mintmark.Secret{}, fmt.Errorf("read secret: %w", err)
		}
		defer f.Close()
		if text, err = readPrivate(f); err != nil {
			return mintmark.Secret{}, err
		}
	case s.Env != "":
		text = getenv(s.Env)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return mintmark.Secret{}, fmt.Errorf("%s: %w", s, ErrNoSecret)
	}
	return mintmark.NewSecret(text), nil
}

// ReadIn returns the secret of a file in a directory. name comes from resources,
// whose authors must not choose among all files of this machine: a path that leads
// out of the directory, by links as well, is refused.
func ReadIn(dir, name string) (mintmark.Secret, error) {
	if rel, err := filepath.Rel(dir, name); err == nil && filepath.IsAbs(name) {
		name = rel
	}
	f, err := os.OpenInRoot(dir, name)
	if err != nil {
		return mintmark.Secret{}, fmt.Errorf("read secret in %s: %w", dir, err)
	}
	defer f.Close()
	text, err := readPrivate(f)
	if err != nil {
		return mintmark.Secret{}, err
	}
	if text = strings.TrimSpace(text); text == "" {
		return mintmark.Secret{}, fmt.Errorf("file %s in %s: %w", name, dir, ErrNoSecret)
	}
	return mintmark.NewSecret(text), nil
}

// readPrivate reads a file that nobody else may read.
func readPrivate(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("read secret: %s may be read by others (mode %o): run chmod 600 %s", f.Name(), info.Mode().Perm(), f.Name())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("read secret: %s is larger than 64 KiB", f.Name())
	}
	return string(b), nil
}

// Key32 decodes a secret of exactly 32 bytes from base64 (either alphabet,
// padded or not) or hex.
func Key32(s mintmark.Secret) ([32]byte, error) {
	var key [32]byte
	text := s.Reveal()
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if b, err := decode(text); err == nil && len(b) == len(key) {
			copy(key[:], b)
			return key, nil
		}
	}
	return key, errors.New("want 32 bytes as 64 hex digits or as base64; make one with: openssl rand -base64 32")
}
