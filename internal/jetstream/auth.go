package jetstream

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// credential is a name and password for an in-process connection. It is made
// anew at each start and never leaves the process.
type credential struct {
	user, password string
	gateway        mintmark.GatewayID // empty is control
}

// authenticator decides who may connect and what they may say and hear.
type authenticator struct {
	member func(nkey string) (mintmark.GatewayID, bool)

	mu      sync.Mutex
	random  io.Reader                                  // guarded by mu
	inside  map[string]credential                      // guarded by mu; by user
	current map[mintmark.GatewayID]map[uint64]struct{} // guarded by mu; client ids seen
}

var _ server.Authentication = (*authenticator)(nil)

func newAuthenticator(random io.Reader, member func(string) (mintmark.GatewayID, bool)) (*authenticator, error) {
	if random == nil {
		return nil, errors.New("jetstream: no source of randomness")
	}
	return &authenticator{
		member: member, random: random,
		inside: map[string]credential{}, current: map[mintmark.GatewayID]map[uint64]struct{}{},
	}, nil
}

// internal makes a credential for an in-process connection.
func (a *authenticator) internal(gateway mintmark.GatewayID) (credential, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var secret [32]byte
	if _, err := io.ReadFull(a.random, secret[:]); err != nil {
		return credential{}, fmt.Errorf("make in-process bus credential: %w", err)
	}
	c := credential{
		user:     fmt.Sprintf("inside-%d", len(a.inside)+1),
		password: hex.EncodeToString(secret[:]),
		gateway:  gateway,
	}
	a.inside[c.user] = c
	return c, nil
}

// Check implements server.Authentication.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	o := c.GetOpts()
	if o.Nkey != "" {
		return a.checkNKey(c, o)
	}
	a.mu.Lock()
	inside, ok := a.inside[o.Username]
	a.mu.Unlock()
	// The password travels through memory only; a remote client can't know it.
	if !ok || subtle.ConstantTimeCompare([]byte(inside.password), []byte(o.Password)) != 1 {
		return false
	}
	if inside.gateway == "" {
		c.RegisterUser(&server.User{Username: o.Username})
		return true
	}
	a.register(c, inside.gateway)
	return true
}

// checkNKey admits a member whose signature over our nonce is good.
func (a *authenticator) checkNKey(c server.ClientAuthentication, o *server.ClientOpts) bool {
	if a.member == nil {
		return false
	}
	sig, err := base64.RawURLEncoding.DecodeString(o.Sig)
	if err != nil {
		return false
	}
	pub, err := nkeys.FromPublicKey(o.Nkey)
	if err != nil || pub.Verify(c.GetNonce(), sig) != nil {
		return false
	}
	gateway, ok := a.member(o.Nkey)
	if !ok || mintmark.CheckGatewayID(gateway) != nil {
		return false
	}
	a.register(c, gateway)
	return true
}

func (a *authenticator) register(c server.ClientAuthentication, gateway mintmark.GatewayID) {
	c.RegisterUser(&server.User{Username: string(gateway), Permissions: Permissions(gateway)})
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := a.current[gateway]
	if ids == nil || len(ids) >= 64 {
		// Ids of connections long gone; forgetting them costs Expel nothing,
		// because a reconnecting gateway has only its newest ones alive.
		ids = map[uint64]struct{}{}
		a.current[gateway] = ids
	}
	ids[c.GetID()] = struct{}{}
}

// clients returns and forgets the connections seen of a gateway.
func (a *authenticator) clients(gateway mintmark.GatewayID) []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := slices.Sorted(maps.Keys(a.current[gateway]))
	delete(a.current, gateway)
	return ids
}

// Permissions are the subjects that a gateway may use: everything it sends ends
// in its own id, and it hears the state log, what is addressed to it, and the
// answers to its own requests.
func Permissions(gateway mintmark.GatewayID) *server.Permissions {
	id := string(gateway)
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"mm.v1.ctl.*." + id,
			bus.SubjectRecords + id,
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			bus.SubjectState,
			"mm.v1.gw." + id + ".>",
			inboxPrefix(gateway) + ".>",
		}},
		Response: &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
	}
}

// inboxPrefix is where a gateway's answers arrive: a prefix of its own, so that
// no other gateway can listen.
func inboxPrefix(gateway mintmark.GatewayID) string {
	if gateway == "" {
		return "_INBOX"
	}
	return "_INBOX_" + string(gateway)
}
