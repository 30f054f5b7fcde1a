package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// ErrForbidden: the caller would give, take or use the rights of administrators
// without being one.
var ErrForbidden = errors.New("not allowed")

// AdminScopes are the scopes that the admin API goes by. A client or user that may
// have one is an administrator's.
var AdminScopes = []string{"admin:gate", "admin:pipeline", "admin:viewer", "admin:operator", "admin:security", "admin:admin"}

// claimRoles is the claim of a user that names the roles that he may have.
const claimRoles = "mintmark_roles"

type limitedKey struct{}

// Limited marks what is done in the context as asked for by somebody who may not
// make administrators. Whoever may write a client's document could else write
// himself a credential with every role.
func Limited(ctx context.Context) context.Context {
	return context.WithValue(ctx, limitedKey{}, true)
}

// MayChangeClient refuses a limited caller to make or change a client that has
// rights at the admin API, or would have by the given scopes.
func (c *Control) MayChangeClient(ctx context.Context, id mintmark.ClientID, scopes []string) error {
	doc := map[string]json.RawMessage{}
	if _, _, err := c.document(ctx, ledger.DocClient, string(id), &doc); err != nil {
		return err
	}
	asked, err := json.Marshal(scopes)
	if err != nil {
		return err
	}
	return mayChange(ctx, ledger.DocClient, string(id), doc, map[string]json.RawMessage{"scopes": asked})
}

// mayChange refuses a limited caller a change of an account from old to next if
// either is an administrator's.
func mayChange(ctx context.Context, kind, id string, old, next map[string]json.RawMessage) error {
	if ctx.Value(limitedKey{}) == nil || !administrative(kind, old) && !administrative(kind, next) {
		return nil
	}
	return fmt.Errorf("%w: %s %s has rights at the admin API, so that only the role admin may change it", ErrForbidden, kind, id)
}

// administrative reports whether an account's document gives rights at the admin
// API. What can't be read is taken to.
func administrative(kind string, doc map[string]json.RawMessage) bool {
	if kind == ledger.DocUser {
		claims := map[string]json.RawMessage{}
		if doc["claims"] != nil && json.Unmarshal(doc["claims"], &claims) != nil {
			return true
		}
		return claims[claimRoles] != nil
	}
	var scopes []string
	if doc["scopes"] != nil && json.Unmarshal(doc["scopes"], &scopes) != nil {
		return true
	}
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(AdminScopes, s) })
}
