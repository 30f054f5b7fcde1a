package testkit

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/jose"
)

// MintRequest asks for a token. The zero value is one for a client, with all
// scopes, for DefaultLifetime.
type MintRequest struct {
	// Client it is minted for, made when there is none of that name; empty is app.
	Client string
	// Subject it speaks for; empty is the client itself.
	Subject string
	// Scopes, of Config.Scopes; empty is all of them.
	Scopes []string
	// Lifetime in whole seconds, at most MaxLifetime; 0 is DefaultLifetime.
	Lifetime time.Duration
	// Claims are set over those that were minted; a null takes one away.
	Claims map[string]json.RawMessage
	// Fault breaks the token; empty is a good one.
	Fault Fault
}

// Token is a minted token.
type Token struct {
	// Value is the token as minted, for a service that goes by Issuer.Now; for one
	// that has a clock of its own see Issuer.Present.
	Value string
	// ID is its jti, and Key the kid of the key that signed it.
	ID, Key string

	payload  map[string]json.RawMessage
	fault    Fault
	stranger *jose.Signer // of the faults that sign with a key of their own
}

// Mint mints a token under the stable release, and breaks it if it is asked to.
func (i *Issuer) Mint(ctx context.Context, q MintRequest) (Token, error) {
	if q.Client == "" {
		q.Client = "app"
	}
	if q.Lifetime == 0 {
		q.Lifetime = DefaultLifetime
	}
	if q.Lifetime < time.Second || q.Lifetime > MaxLifetime {
		return Token{}, fmt.Errorf("%w: a lifetime of %v is not between 1s and %v", ErrConfig, q.Lifetime, MaxLifetime)
	}
	if err := q.Fault.check(); err != nil {
		return Token{}, err
	}
	if err := i.ensureClient(ctx, q.Client); err != nil {
		return Token{}, err
	}
	got, err := i.auth.IssueFor(ctx, authority.IssueRequest{
		Client: mintmark.ClientID(q.Client), Subject: q.Subject, Audience: i.cfg.Audience, Scopes: q.Scopes,
		Seconds: int64(q.Lifetime / time.Second), Actor: actor, Reason: "test",
	})
	if err != nil {
		return Token{}, fmt.Errorf("mint: %w", err)
	}
	t := Token{Value: got.Value.Reveal(), ID: string(got.Token.ID), fault: q.Fault}
	c, err := jose.Parse([]byte(t.Value))
	if err != nil {
		return Token{}, fmt.Errorf("read what was minted: %w", err)
	}
	t.Key = c.Header.KeyID
	if err := json.Unmarshal([]byte(c.Payload), &t.payload); err != nil {
		return Token{}, fmt.Errorf("read what was minted: %w", err)
	}
	if len(q.Claims) == 0 && q.Fault == "" {
		return t, nil
	}
	for name, v := range q.Claims {
		if t.payload[name] = v; string(v) == "null" {
			delete(t.payload, name)
		}
	}
	if t.stranger, err = strange(t.Key, q.Fault); err != nil {
		return Token{}, err
	}
	t.fault.spoil(t.payload, i.Now().Unix())
	t.Value, err = i.write(t, t.payload)
	return t, err
}

// ensureClient makes a client of the name unless there is one.
func (i *Issuer) ensureClient(ctx context.Context, name string) error {
	i.making.Lock()
	defer i.making.Unlock()
	if i.clients[name] || name == clientID {
		return nil
	}
	err := i.auth.PutClient(ctx, authority.Client{
		ID: mintmark.ClientID(name), AuthMethod: authority.AuthNone, Scopes: i.cfg.Scopes,
		RedirectURIs: []string{"http://127.0.0.1/callback"},
		GrantTypes:   []string{authority.GrantCode},
	}, actor)
	if err != nil {
		return fmt.Errorf("make client %.80q: %w", name, err)
	}
	i.clients[name] = true
	return nil
}

// times are the claims that hold NumericDates.
var times = []string{"exp", "iat", "nbf", "auth_time"}

// Present returns the token as a service whose clock is the machine's must be shown
// it now: Value while the issuer's clock was not moved, else the same token signed
// again with its times moved back.
func (i *Issuer) Present(t Token) (string, error) {
	ahead := int64(i.ahead() / time.Second)
	if ahead == 0 {
		return t.Value, nil
	}
	payload := make(map[string]json.RawMessage, len(t.payload))
	for k, v := range t.payload {
		payload[k] = v
	}
	for _, name := range times {
		var at int64
		if v, ok := payload[name]; ok && json.Unmarshal(v, &at) == nil {
			payload[name] = number(at - ahead)
		}
	}
	value, err := i.write(t, payload)
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.presented) >= maxPresented {
		clear(i.presented)
	}
	i.presented[value] = t.Value
	return value, nil
}

// maxPresented bounds what introspection can translate back.
const maxPresented = 100_000

func number(n int64) json.RawMessage { return json.RawMessage(fmt.Sprint(n)) }

// write signs a payload as the token's fault has it.
func (i *Issuer) write(t Token, payload map[string]json.RawMessage) (string, error) {
	text, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("write the token: %w", err)
	}
	own, err := i.signers.of(t.Key)
	if err != nil {
		return "", err
	}
	return t.fault.sign(text, own, t.stranger)
}

// signers hands the authority its keys and keeps those that it made, so that a
// token can be signed again.
type signers struct {
	authority.KeyMaker

	mu   sync.Mutex
	made map[string]crypto.Signer // guarded by mu
}

// Wrap implements authority.KeyMaker: it is where a new key meets its id.
func (s *signers) Wrap(kid string, key crypto.Signer) ([]byte, error) {
	s.mu.Lock()
	if s.made == nil {
		s.made = map[string]crypto.Signer{}
	}
	s.made[kid] = key
	s.mu.Unlock()
	return s.KeyMaker.Wrap(kid, key)
}

func (s *signers) of(kid string) (*jose.Signer, error) {
	s.mu.Lock()
	key := s.made[kid]
	s.mu.Unlock()
	if key == nil {
		return nil, fmt.Errorf("%w: key %.80q is not of this issuer", ErrConfig, kid)
	}
	return jose.NewSigner(kid, jose.ES256, key)
}

func sign(s *jose.Signer, typ string, payload []byte) (string, error) {
	return s.Sign(rand.Reader, typ, payload)
}
