package jetstream

import (
	"cmp"
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
	alive  func(client uint64) bool // set before the server starts

	mu      sync.Mutex
	random  io.Reader                                // guarded by mu
	inside  map[string]credential                    // guarded by mu; by user
	current map[mintmark.GatewayID]map[uint64]string // guarded by mu; client ids seen, with their key
}

var _ server.Authentication = (*authenticator)(nil)

func newAuthenticator(random io.Reader, member func(string) (mintmark.GatewayID, bool)) (*authenticator, error) {
	if random == nil {
		return nil, errors.New("jetstream: no source of randomness")
	}
	return &authenticator{
		member: member, random: random,
		inside: map[string]credential{}, current: map[mintmark.GatewayID]map[uint64]string{},
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
	if o.Sig != "" {
		return a.checkNKey(c, cmp.Or(o.Nkey, o.Username), o.Sig)
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
	a.register(c, inside.gateway, "")
	return true
}

// checkNKey admits a member whose signature over our nonce is good. The key may
// come in the place of a user's name; see Credential.
func (a *authenticator) checkNKey(c server.ClientAuthentication, nkey, signature string) bool {
	if a.member == nil {
		return false
	}
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	pub, err := nkeys.FromPublicKey(nkey)
	if err != nil || pub.Verify(c.GetNonce(), sig) != nil {
		return false
	}
	gateway, ok := a.member(nkey)
	if !ok || mintmark.CheckGatewayID(gateway) != nil {
		return false
	}
	a.register(c, gateway, nkey)
	return true
}

func (a *authenticator) register(c server.ClientAuthentication, gateway mintmark.GatewayID, nkey string) {
	c.RegisterUser(&server.User{Username: string(gateway), Permissions: Permissions(gateway)})
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := a.current[gateway]
	if ids == nil {
		ids = map[uint64]string{}
		a.current[gateway] = ids
	}
	if len(ids) >= 64 && a.alive != nil {
		// Only those that are gone: Expel must find every connection there is.
		maps.DeleteFunc(ids, func(id uint64, _ string) bool { return !a.alive(id) })
	}
	ids[c.GetID()] = nkey
}

// clients returns and forgets the connections seen of a gateway, or of one of its
// keys.
func (a *authenticator) clients(gateway mintmark.GatewayID, nkey string) []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []uint64
	for id, key := range a.current[gateway] {
		if nkey == "" || key == nkey {
			ids = append(ids, id)
			delete(a.current[gateway], id)
		}
	}
	slices.Sort(ids)
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
