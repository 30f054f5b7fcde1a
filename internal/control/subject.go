package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
)

// SubjectID names a person as others do (RFC 9493): by format and that format's
// members.
type SubjectID struct {
	Format  string `json:"format"`
	Issuer  string `json:"iss,omitempty"`   // iss_sub
	Subject string `json:"sub,omitempty"`   // iss_sub
	Email   string `json:"email,omitempty"` // email
	ID      string `json:"id,omitempty"`    // opaque: a sub of ours
}

// Selectors finds whom a subject identifier means. ErrInvalid when its format is
// not known here or a member is missing, ErrNotFound when nobody is meant: no user,
// and no token was ever theirs.
func (c *Control) Selectors(ctx context.Context, s SubjectID) ([]mintmark.Selector, error) {
	own := c.cfg.State.Current().Table.Authority()
	var found []mintmark.Selector
	switch s.Format {
	case "iss_sub":
		if s.Issuer == "" || s.Subject == "" || s.Email+s.ID != "" {
			return nil, fmt.Errorf("%w: format iss_sub has the members iss and sub", ErrInvalid)
		}
		if s.Issuer != own && c.cfg.State.Current().Table.Issuer(s.Issuer) == nil {
			return nil, fmt.Errorf("%w: there is no issuer %.200q", ErrNotFound, s.Issuer)
		}
		found = append(found, mintmark.Selector{Subject: s.Subject, Issuer: s.Issuer})
	case "opaque":
		if s.ID == "" || s.Email+s.Issuer+s.Subject != "" {
			return nil, fmt.Errorf("%w: format opaque has the member id", ErrInvalid)
		}
		found = append(found, mintmark.Selector{Subject: s.ID, Issuer: own})
	case "email":
		if s.Email == "" || s.ID+s.Issuer+s.Subject != "" {
			return nil, fmt.Errorf("%w: format email has the member email", ErrInvalid)
		}
		subjects, err := c.subjectsOf(ctx, func(_, email string) bool { return strings.EqualFold(email, s.Email) })
		if err != nil {
			return nil, err
		}
		for _, sub := range subjects {
			found = append(found, mintmark.Selector{Subject: sub, Issuer: own})
		}
	default:
		return nil, fmt.Errorf("%w: format %.40q: want iss_sub, email or opaque", ErrInvalid, s.Format)
	}
	for i := range found {
		if err := found[i].Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		known, err := c.known(ctx, found[i], own)
		if err != nil {
			return nil, err
		}
		if !known {
			found = nil
			break
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: nobody is known by this identifier", ErrNotFound)
	}
	return found, nil
}

// known reports whether a subject ever had a token, or is a user of ours.
func (c *Control) known(ctx context.Context, sel mintmark.Selector, own string) (bool, error) {
	rows, err := c.cfg.Tokens.Tokens(ctx, ledger.TokenFilter{Selector: sel, Now: c.cfg.Now(), Limit: 1})
	if err != nil {
		return false, fmt.Errorf("read tokens: %w", err)
	}
	if len(rows) > 0 || sel.Issuer != own {
		// Another issuer's subjects are known by what they presented; one that has
		// presented nothing may still come.
		return len(rows) > 0, nil
	}
	users, err := c.subjectsOf(ctx, func(sub, _ string) bool { return sub == sel.Subject })
	return len(users) > 0, err
}

// subjectsOf lists the subjects of the local users that match.
func (c *Control) subjectsOf(ctx context.Context, match func(subject, email string) bool) (out []string, err error) {
	err = documents(ctx, c.cfg.Store, ledger.DocUser, func(d ledger.Document, v struct {
		Subject string                     `json:"sub"`
		Claims  map[string]json.RawMessage `json:"claims"`
	},
	) error {
		sub, email := v.Subject, ""
		if sub == "" {
			sub = d.ID
		}
		if json.Unmarshal(v.Claims["email"], &email) != nil {
			email = "" // absent, or no text
		}
		if match(sub, email) {
			out = append(out, sub)
		}
		return nil
	})
	return out, err
}

// RevokeSubject ends everything of a person: tokens, grants and sign-ins, as of
// now. It is durable when it returns nil; ErrPending says that the guard wants a
// second person first.
func (c *Control) RevokeSubject(ctx context.Context, actor string, s SubjectID, reason string) error {
	found, err := c.Selectors(ctx, s)
	if err != nil {
		return err
	}
	for _, sel := range found {
		a, err := c.Revoke(ctx, actor, api.RevokeRequest{Selector: sel.String(), Reason: reason, Wait: true, Timeout: "2s"})
		if err != nil {
			return err
		}
		if a.Pending != nil {
			return fmt.Errorf("%w: %s: %s", ErrPending, a.Pending.ID, a.Pending.Why)
		}
	}
	return nil
}
