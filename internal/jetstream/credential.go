package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/nats-io/nkeys"

	"github.com/mintmark/mintmark"
)

// NewCredential makes a gateway's key pair: the seed stays with the gateway, the
// public key goes into its join request.
func NewCredential() (seed mintmark.Secret, public string, err error) {
	k, err := newKey()
	return k.seed, k.public, err
}

// key is an NKEY pair.
type key struct {
	seed   mintmark.Secret
	public string
	pair   nkeys.KeyPair
}

func newKey() (key, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return key{}, fmt.Errorf("make the gateway's bus credential: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return key{}, fmt.Errorf("make the gateway's bus credential: %w", err)
	}
	return readKey(mintmark.NewSecret(string(seed)))
}

func readKey(seed mintmark.Secret) (key, error) {
	pair, err := nkeys.FromSeed([]byte(seed.Reveal()))
	if err != nil {
		return key{}, fmt.Errorf("read the gateway's bus credential: %w; join again", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return key{}, fmt.Errorf("read the gateway's bus credential: %w; join again", err)
	}
	return key{seed, public, pair}, nil
}

// Credential is a gateway's key pair on the bus and, while it is being replaced,
// the one to follow it. It implements follower.Credential and is safe for
// concurrent use.
//
// Control may know one of the two or both, depending on where a replacement was
// when somebody died: connects try them in turn, beginning with the one that was
// good last.
//
// The client library takes an NKEY only once and for all, but asks for a user's
// name, and a signature over the server's nonce, at each connect: the public key
// travels as the name, and the server's authenticator reads it there. Who asks for
// a signature must name a JWT as well; the server discards it.
type Credential struct {
	save func(use, next mintmark.Secret) error

	mu    sync.Mutex
	keys  []key         // guarded by mu; the one in use, then the one to follow it
	turn  int           // guarded by mu; which of them the next connect tries
	tried string        // guarded by mu; public key of the last attempt
	up    string        // guarded by mu; public key of the connection, empty when there is none
	moved chan struct{} // guarded by mu; closed and replaced when up changes
	again func() error  // guarded by mu; connects anew
	// refused is told of refusals, which are counted since the last connect; signed
	// says that the attempt under way came as far as that. All guarded by mu.
	refused  func()
	refusals int
	signed   bool
}

// OpenCredential returns a credential from the seeds that save last wrote; next is
// zero unless a replacement had begun. save must be durable on return; it replaces
// both at once.
func OpenCredential(use, next mintmark.Secret, save func(use, next mintmark.Secret) error) (*Credential, error) {
	c := &Credential{save: save, moved: make(chan struct{})}
	for _, seed := range []mintmark.Secret{use, next} {
		if seed.IsZero() && len(c.keys) > 0 {
			continue
		}
		k, err := readKey(seed)
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, k)
	}
	return c, nil
}

// Begun implements follower.Credential.
func (c *Credential) Begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys) > 1
}

// Next implements follower.Credential: it makes the key to follow, unless there is
// one already.
func (c *Credential) Next(context.Context) (use, next string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) == 1 {
		k, err := newKey()
		if err != nil {
			return "", "", err
		}
		// Durable before control hears of it: a key that control knows is never lost.
		if err := c.save(c.keys[0].seed, k.seed); err != nil {
			return "", "", fmt.Errorf("keep the gateway's next bus credential: %w", err)
		}
		c.keys = append(c.keys, k)
	}
	return c.keys[0].public, c.keys[1].public, nil
}

// Sign implements follower.Credential.
func (c *Credential) Sign(public string, message []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		if k.public == public {
			return k.pair.Sign(message)
		}
	}
	return nil, errors.New("sign with the gateway's bus credential: no such key")
}

// Switch implements follower.Credential: it connects anew with a key and returns
// once it is connected so.
func (c *Credential) Switch(ctx context.Context, public string) error {
	c.mu.Lock()
	at := slices.IndexFunc(c.keys, func(k key) bool { return k.public == public })
	again := c.again
	if at < 0 || again == nil {
		c.mu.Unlock()
		return errors.New("connect with the gateway's next bus credential: no such key")
	}
	c.turn = at
	there := c.up == public
	c.mu.Unlock()
	if there {
		return nil
	}
	if err := again(); err != nil {
		return fmt.Errorf("connect with the gateway's next bus credential: %w", err)
	}
	for {
		c.mu.Lock()
		up, moved := c.up, c.moved
		c.mu.Unlock()
		if up == public {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("connect with the gateway's next bus credential: %w", ctx.Err())
		}
	}
}

// Settle implements follower.Credential: it forgets the key in use for the one to
// follow it.
func (c *Credential) Settle(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) == 1 {
		return nil
	}
	if err := c.save(c.keys[1].seed, mintmark.Secret{}); err != nil {
		return fmt.Errorf("keep the gateway's bus credential: %w", err)
	}
	c.keys, c.turn = c.keys[1:], 0
	return nil
}

// try returns the public key that the next attempt proves, as a name without a
// password.
func (c *Credential) try() (name, password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[c.turn%len(c.keys)]
	c.turn++
	c.tried = k.public
	if c.signed {
		// The attempt before was asked to prove itself and came to nothing. The client
		// does not say so of a connection that never was.
		c.signed = false
		if c.refusals++; c.refusals >= 2*len(c.keys) && bits.OnesCount(uint(c.refusals)) == 1 && c.refused != nil {
			c.refused()
		}
	}
	return k.public, ""
}

// trying returns what the client wants for a JWT.
func (c *Credential) trying() (string, error) { return "none", nil }

// prove signs the server's nonce for the attempt under way.
func (c *Credential) prove(nonce []byte) ([]byte, error) {
	c.mu.Lock()
	public := c.tried
	c.signed = true
	c.mu.Unlock()
	return c.Sign(public, nonce)
}

// connected notes that the last attempt came through: the next begins with its key.
func (c *Credential) connected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn = max(0, slices.IndexFunc(c.keys, func(k key) bool { return k.public == c.tried }))
	c.refusals, c.signed = 0, false
	c.move(c.tried)
}

// lost notes that there is no connection.
func (c *Credential) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.move("")
}

// move changes up. Call with mu held.
func (c *Credential) move(up string) {
	c.up = up
	close(c.moved)
	c.moved = make(chan struct{})
}

// told says whom to tell of refusals.
func (c *Credential) told(refused func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = refused
}

// via says how to connect anew.
func (c *Credential) via(again func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = again
}
