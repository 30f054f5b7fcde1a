package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// joinDoc (document join/<hex SHA-256 of the token>) is an invitation. The token
// itself is nowhere.
type joinDoc struct {
	// Gateway restricts the invitation to a name; empty allows any new one.
	Gateway   mintmark.GatewayID `json:"gateway,omitempty"`
	ExpiresAt int64              `json:"expires_at"`
	Actor     string             `json:"actor"`
}

// JoinAnswer is what a joined gateway is told; the address and the certificate
// authority are the bus's.
func (f *Fleet) JoinAnswer(busURL, ca string) bus.JoinReply {
	keys := map[string][]byte{f.cfg.KeyID: f.StateKey(f.cfg.KeyID)}
	for kid, pub := range f.cfg.OldKeys {
		keys[kid] = pub
	}
	return bus.JoinReply{V: bus.Version, Bus: busURL, CA: ca, StateKeys: keys, LeaseMS: f.cfg.Lease.Milliseconds()}
}

// Invite makes a one-time join token, good until lifetime has passed. answer is
// what Join will say (JoinAnswer): the token pins it.
func (f *Fleet) Invite(ctx context.Context, id mintmark.GatewayID, lifetime time.Duration, answer bus.JoinReply, actor string) (mintmark.Secret, error) {
	if id != "" {
		if err := mintmark.CheckGatewayID(id); err != nil {
			return mintmark.Secret{}, err
		}
	}
	var secret [24]byte
	if _, err := f.cfg.Random.Read(secret[:]); err != nil {
		return mintmark.Secret{}, fmt.Errorf("make a join token: %w", err)
	}
	token := bus.NewJoinToken(secret, answer)
	body, err := json.Marshal(joinDoc{Gateway: id, ExpiresAt: f.cfg.Now().Add(lifetime).Unix(), Actor: actor})
	if err != nil {
		return mintmark.Secret{}, err
	}
	_, err = f.cfg.Ledger.Append(ctx, ledger.Batch{
		Events: []mintmark.Event{{Stream: joinStream(token), Type: "join.invited", Actor: actor, Data: body}},
		Expect: []ledger.Expect{{Stream: joinStream(token)}},
	})
	if err != nil {
		return mintmark.Secret{}, fmt.Errorf("store the join token: %w", err)
	}
	return token, nil
}

func joinStream(token mintmark.Secret) string { return ledger.DocJoin + "/" + joinID(token) }

func joinID(token mintmark.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Join redeems a join token: the gateway becomes a member in the transaction that
// uses the token up, so that of two at once one is refused. A name that is a
// member's already is refused, unless the invitation names it.
func (f *Fleet) Join(ctx context.Context, q bus.JoinRequest, answer bus.JoinReply) (bus.JoinReply, error) {
	if err := mintmark.CheckGatewayID(q.Gateway); err != nil {
		return bus.JoinReply{}, err
	}
	if err := bus.CheckNKey(q.NKey); err != nil {
		return bus.JoinReply{}, fmt.Errorf("%w: %w", ErrJoin, err)
	}
	if err := bus.CheckJoinToken(q.Token.Reveal()); err != nil {
		return bus.JoinReply{}, fmt.Errorf("%w: %w", ErrJoin, err)
	}
	d, err := f.cfg.Store.Document(ctx, ledger.DocJoin, joinID(q.Token))
	if errors.Is(err, ledger.ErrNotFound) {
		return bus.JoinReply{}, fmt.Errorf("%w: the token is unknown or was used", ErrJoin)
	}
	var invitation joinDoc
	if err == nil {
		err = json.Unmarshal(d.Body, &invitation)
	}
	if err != nil {
		return bus.JoinReply{}, fmt.Errorf("read the join token: %w", err)
	}
	f.mu.Lock()
	m := f.members[q.Gateway]
	taken := m != nil && !m.doc.Removed && invitation.Gateway != q.Gateway
	f.mu.Unlock()
	switch {
	case f.cfg.Now().Unix() >= invitation.ExpiresAt:
		return bus.JoinReply{}, fmt.Errorf("%w: the token has expired", ErrJoin)
	case invitation.Gateway != "" && invitation.Gateway != q.Gateway:
		return bus.JoinReply{}, fmt.Errorf("%w: the token is for gateway %s", ErrJoin, invitation.Gateway)
	case taken:
		return bus.JoinReply{}, fmt.Errorf("%w: there is a gateway %s already; invite it by name to replace its credential", ErrJoin, q.Gateway)
	}
	err = f.Admit(ctx, q.Gateway, q.NKey, ledger.Batch{
		Events: []mintmark.Event{{Stream: joinStream(q.Token), Type: "join.redeemed", Actor: "gateway:" + string(q.Gateway), Data: json.RawMessage("null")}},
		Expect: []ledger.Expect{{Stream: joinStream(q.Token), Version: d.Version}},
	})
	if errors.Is(err, ledger.ErrConflict) {
		return bus.JoinReply{}, fmt.Errorf("%w: the token was used at the same moment", ErrJoin)
	}
	answer.Gateway = q.Gateway
	return answer, err
}
