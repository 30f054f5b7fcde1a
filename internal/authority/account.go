package authority

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/ledger"
)

// prefixSecret marks client secrets, so that scanners know them.
const prefixSecret = "mms_"

// HashClientSecret returns what a client document keeps of a secret.
func (a *Authority) HashClientSecret(secret mintmark.Secret) []byte {
	d := handle.Digest(secret.Reveal())
	return a.d.Keyring.Handle(d[:])
}

// NewClientSecret makes a secret and its entry for a client document.
func (a *Authority) NewClientSecret() (mintmark.Secret, ClientSecret, error) {
	var r [32]byte
	if err := a.random(r[:]); err != nil {
		return mintmark.Secret{}, ClientSecret{}, err
	}
	s := mintmark.NewSecret(prefixSecret + base64.RawURLEncoding.EncodeToString(r[:]))
	return s, ClientSecret{Hash: a.HashClientSecret(s), Created: a.d.Now().Unix()}, nil
}

// RotateClientSecret gives a client a new secret, which is shown once; those
// before go on for the overlap.
func (a *Authority) RotateClientSecret(ctx context.Context, id mintmark.ClientID, overlap time.Duration, actor string) (mintmark.Secret, error) {
	secret, entry, err := a.NewClientSecret()
	if err != nil {
		return mintmark.Secret{}, err
	}
	now := a.d.Now()
	err = a.changeClient(ctx, id, actor, false, func(c *Client) error {
		if m := c.Method(); m != AuthBasic && m != AuthPost && m != AuthNone {
			return fmt.Errorf("%w: client %s proves itself by %s, not by a secret", ErrRequest, id, m)
		}
		kept := []ClientSecret{entry}
		for _, s := range c.Secrets {
			end := now.Add(overlap).Unix()
			if s.Expires != 0 && s.Expires < end {
				end = s.Expires
			}
			if end > now.Unix() && len(kept) < 3 {
				s.Expires = end
				kept = append(kept, s)
			}
		}
		c.Secrets = kept
		if c.AuthMethod == AuthNone {
			c.AuthMethod = AuthBasic
		}
		return nil
	})
	return secret, err
}

// SetClientDisabled turns a client off, or on again.
func (a *Authority) SetClientDisabled(ctx context.Context, id mintmark.ClientID, disabled bool, actor string) error {
	return a.changeClient(ctx, id, actor, false, func(c *Client) error { c.Disabled = disabled; return nil })
}

// PutClient makes or replaces a client document. Secrets are kept as they are when
// the new document has none.
func (a *Authority) PutClient(ctx context.Context, c Client, actor string) error {
	if c.ID == "" || len(c.ID) > 256 {
		return fmt.Errorf("%w: a client needs an id of at most 256 characters", ErrRequest)
	}
	return a.changeClient(ctx, c.ID, actor, true, func(old *Client) error {
		secrets := old.Secrets
		*old = c
		if len(c.Secrets) == 0 {
			old.Secrets = secrets
		}
		return nil
	})
}

// changeClient replaces a client document; orNew makes it when it is missing.
func (a *Authority) changeClient(ctx context.Context, id mintmark.ClientID, actor string, orNew bool, change func(*Client) error) error {
	for range 5 {
		var c Client
		v, err := a.load(ctx, ledger.DocClient, string(id), &c)
		if errors.Is(err, ledger.ErrNotFound) && orNew {
			v, err = a.d.Documents.StreamVersion(ctx, ledger.DocClient+"/"+string(id))
		}
		if err != nil {
			return fmt.Errorf("read client %s: %w", id, err)
		}
		if err := change(&c); err != nil {
			return err
		}
		_, err = a.d.Ledger.Append(ctx, by(actor, put(ledger.DocClient, string(id), v, c)).With(ctx))
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write client %s: %w", id, ledger.ErrConflict)
}

// UserChange is what becomes of a local user. What is left out stays as it is.
type UserChange struct {
	Password mintmark.Secret // 8 to 1024 bytes
	Email    string          // the claim email
	Roles    []string        // those that may be had at the admin API
}

// SetPassword gives a local user a password, making the account if make says so.
// Whoever is signed in stays so: revoke subject=… to end that.
func (a *Authority) SetPassword(ctx context.Context, name string, password mintmark.Secret, make bool, actor string) error {
	if password.Reveal() == "" {
		return fmt.Errorf("%w: a password has 8 to 1024 bytes", ErrRequest)
	}
	return a.ChangeUser(ctx, name, UserChange{Password: password}, make, actor)
}

// ChangeUser changes a local user, or makes one with a password if make says so.
func (a *Authority) ChangeUser(ctx context.Context, name string, to UserChange, make bool, actor string) error {
	if name == "" || len(name) > 128 {
		return fmt.Errorf("%w: a user needs a name of at most 128 characters", ErrRequest)
	}
	claims, err := to.claims()
	if err != nil {
		return err
	}
	if len(claims) == 0 && to.Password.Reveal() == "" {
		return fmt.Errorf("%w: nothing is asked for: give a password, an e-mail address or roles", ErrRequest)
	}
	hash := ""
	if n := len(to.Password.Reveal()); n > 0 {
		if n < 8 || n > 1024 {
			return fmt.Errorf("%w: a password has 8 to 1024 bytes", ErrRequest)
		}
		if hash, err = a.d.Passwords.HashPassword(ctx, to.Password); err != nil {
			return fmt.Errorf("hash password: %w", err)
		}
	}
	for range 5 {
		u := User{Name: name}
		v, err := a.load(ctx, ledger.DocUser, name, &u)
		if errors.Is(err, ledger.ErrNotFound) && make {
			if hash == "" {
				return fmt.Errorf("%w: there is no user %s, and to make one a password is wanted; accounts without one are declared: kind: User", ErrRequest, name)
			}
			v, err = a.d.Documents.StreamVersion(ctx, ledger.DocUser+"/"+name)
		}
		if err != nil {
			return fmt.Errorf("read user %s: %w", name, err)
		}
		if u.Ref = "sub:" + u.Sub(); hash != "" {
			u.Password = hash
		}
		if u.Claims == nil {
			u.Claims = map[string]json.RawMessage{}
		}
		maps.Copy(u.Claims, claims)
		_, err = a.d.Ledger.Append(ctx, by(actor, put(ledger.DocUser, name, v, u)).With(ctx))
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write user %s: %w", name, ledger.ErrConflict)
}

// claims are those that a change sets.
func (to *UserChange) claims() (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	if to.Email != "" {
		// Whoever gets mail there decides whether it is one: no more than its shape is
		// looked at.
		if at := strings.LastIndexByte(to.Email, '@'); at < 1 || at == len(to.Email)-1 || len(to.Email) > 254 ||
			strings.ContainsFunc(to.Email, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%w: %.80q is no e-mail address", ErrRequest, to.Email)
		}
		text, err := json.Marshal(to.Email)
		if err != nil {
			return nil, err
		}
		out["email"] = text
	}
	for _, role := range to.Roles {
		if !slices.Contains([]string{"viewer", "operator", "security", "admin"}, role) {
			return nil, fmt.Errorf("%w: there is no role %.40q: want viewer, operator, security or admin", ErrRequest, role)
		}
	}
	if len(to.Roles) > 0 {
		text, err := json.Marshal(mintmark.SortedSet(slices.Clone(to.Roles)))
		if err != nil {
			return nil, err
		}
		out[claimRoles] = text
	}
	return out, nil
}
