// Package projection answers: what do the read models say after this event?
//
// Fold is a pure function of the event and the rows it looks at: the ledger calls
// it inside the transaction that appends the event, and again for every event
// when the ledger is verified; both must give the same rows. It does no I/O of
// its own, reads no clock (an event's time is the event's), and is safe for
// concurrent use.
package projection

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// Fold implements ledger.Fold. Types of events that no read model needs fold to
// no change.
func Fold(ctx context.Context, e *mintmark.Event, rows ledger.Rows) (ledger.Changes, error) {
	if kind, id, ok := ledger.DocumentStream(e.Stream); ok {
		return foldDocument(e, kind, id)
	}
	switch e.Type {
	case mintmark.EventTokenIssued:
		return foldIssued(e)
	case mintmark.EventTokenRevoked, mintmark.EventTokenSuspended, mintmark.EventTokenRestored, mintmark.EventTokenSuperseded:
		return foldChanged(ctx, e, rows)
	case mintmark.EventFamilyOpened:
		return foldOpened(e)
	case mintmark.EventFamilyRotated:
		return foldRotated(ctx, e, rows)
	case mintmark.EventFamilyRevoked:
		return foldFamilyRevoked(ctx, e, rows)
	case mintmark.EventGrantMade:
		return foldGrant(e)
	case mintmark.EventGrantRevoked:
		return foldGrantRevoked(ctx, e, rows)
	case mintmark.EventUsageRecorded:
		return foldUsage(e)
	case mintmark.EventStateCommitted:
		return foldRow(e)
	case ledger.EventPurged:
		var p ledger.Purge
		if err := decode(e, &p); err != nil {
			return ledger.Changes{}, err
		}
		return ledger.Changes{Purge: &p}, nil
	}
	return ledger.Changes{}, nil
}

func decode(e *mintmark.Event, into any) error {
	if err := json.Unmarshal(e.Data, into); err != nil {
		return fmt.Errorf("data of %s: %w", e.Type, err)
	}
	return nil
}

// on checks that an event stands on the stream of what it is about.
func on(e *mintmark.Event, noun, id string) error {
	if id == "" || e.Stream != noun+"/"+id {
		return fmt.Errorf("%s of %s %.60q on stream %.80q", e.Type, noun, id, e.Stream)
	}
	return nil
}

func foldIssued(e *mintmark.Event) (ledger.Changes, error) {
	var d mintmark.TokenIssued
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "token", string(d.Token.ID)); err != nil {
		return ledger.Changes{}, err
	}
	state, err := lifecycle.Step(mintmark.StateUnknown, e.Type)
	if err != nil {
		return ledger.Changes{}, err
	}
	return ledger.Changes{NewTokens: []ledger.TokenRow{{
		Token: d.Token, State: state, Handle: d.Handle, Parent: d.Parent, Name: d.Name, Owner: d.Owner, Version: e.Version,
	}}}, nil
}

func foldChanged(ctx context.Context, e *mintmark.Event, rows ledger.Rows) (ledger.Changes, error) {
	var d mintmark.TokenChanged
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "token", string(d.ID)); err != nil {
		return ledger.Changes{}, err
	}
	row, err := rows.TokenByID(ctx, d.ID)
	if err != nil {
		return ledger.Changes{}, err
	}
	now := lifecycle.At(row.State, row.FirstSeen != 0, row.Expires, e.At)
	next, err := lifecycle.Step(now, e.Type)
	if err != nil {
		return ledger.Changes{}, err
	}
	// Expiry is computed, never stored.
	if next != mintmark.StateExpired {
		row.State = next
	}
	row.Reason, row.Version = d.Reason, e.Version
	if d.By != "" {
		row.By = d.By
	}
	return ledger.Changes{Tokens: []ledger.TokenRow{row}}, nil
}

func foldOpened(e *mintmark.Event) (ledger.Changes, error) {
	var d mintmark.FamilyOpened
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "family", string(d.Family)); err != nil {
		return ledger.Changes{}, err
	}
	if e.Version != 1 {
		return ledger.Changes{}, fmt.Errorf("%w: family %s is open already", ledger.ErrConflict, d.Family)
	}
	return ledger.Changes{Families: []ledger.FamilyRow{{ID: d.Family, Grant: d.Grant, Current: d.Current, Version: e.Version}}}, nil
}

// foldRotated moves the family's one line on. The stored event goes without the
// sealed answer: events are for ever, the answer is for the grace window.
func foldRotated(ctx context.Context, e *mintmark.Event, rows ledger.Rows) (ledger.Changes, error) {
	var d mintmark.FamilyRotated
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "family", string(d.Family)); err != nil {
		return ledger.Changes{}, err
	}
	row, err := rows.Family(ctx, d.Family)
	if err != nil {
		return ledger.Changes{}, err
	}
	if row.Revoked || row.Current != d.Old {
		return ledger.Changes{}, fmt.Errorf("%w: family %s does not go on from %s", ledger.ErrConflict, d.Family, d.Old)
	}
	row.Current, row.Previous, row.GraceUntil, row.Version = d.New, d.Old, d.GraceUntil, e.Version
	c := ledger.Changes{Families: []ledger.FamilyRow{row}}
	if len(d.Sealed) > 0 {
		c.Sealed = &ledger.SealedAnswer{Family: d.Family, Body: d.Sealed, Until: d.GraceUntil}
		d.Sealed = nil
		if c.Data, err = json.Marshal(d); err != nil {
			return ledger.Changes{}, err
		}
	}
	return c, nil
}

func foldFamilyRevoked(ctx context.Context, e *mintmark.Event, rows ledger.Rows) (ledger.Changes, error) {
	var d mintmark.FamilyRevoked
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "family", string(d.Family)); err != nil {
		return ledger.Changes{}, err
	}
	row, err := rows.Family(ctx, d.Family)
	if err != nil {
		return ledger.Changes{}, err
	}
	if !row.Revoked {
		row.Revoked, row.Reason = true, d.Reason
	}
	row.Version = e.Version
	return ledger.Changes{
		Families:       []ledger.FamilyRow{row},
		RevokeFamilies: []ledger.Ended{{ID: string(d.Family), Reason: d.Reason, At: e.At.UnixMilli()}},
	}, nil
}

func foldGrant(e *mintmark.Event) (ledger.Changes, error) {
	var d mintmark.GrantMade
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "grant", string(d.Grant)); err != nil {
		return ledger.Changes{}, err
	}
	if e.Version != 1 {
		return ledger.Changes{}, fmt.Errorf("%w: grant %s is made already", ledger.ErrConflict, d.Grant)
	}
	return ledger.Changes{Grants: []ledger.GrantRow{{GrantMade: d, Version: e.Version}}}, nil
}

func foldGrantRevoked(ctx context.Context, e *mintmark.Event, rows ledger.Rows) (ledger.Changes, error) {
	var d mintmark.GrantRevoked
	if err := decode(e, &d); err != nil {
		return ledger.Changes{}, err
	}
	if err := on(e, "grant", string(d.Grant)); err != nil {
		return ledger.Changes{}, err
	}
	row, err := rows.Grant(ctx, d.Grant)
	if err != nil {
		return ledger.Changes{}, err
	}
	if !row.Revoked {
		row.Revoked, row.Reason = true, d.Reason
	}
	row.Version = e.Version
	return ledger.Changes{
		Grants:       []ledger.GrantRow{row},
		RevokeGrants: []ledger.Ended{{ID: string(d.Grant), Reason: d.Reason, At: e.At.UnixMilli()}},
	}, nil
}

// foldDocument takes an event's data as the whole new document.
func foldDocument(e *mintmark.Event, kind, id string) (ledger.Changes, error) {
	d := ledger.Document{Kind: kind, ID: id, Version: e.Version, Updated: e.At}
	body := bytes.TrimSpace(e.Data)
	if len(body) == 0 || string(body) == "null" {
		return ledger.Changes{Documents: []ledger.Document{d}}, nil
	}
	var top struct {
		Ref     any          `json:"ref"`
		Expires *json.Number `json:"expires_at"`
	}
	if err := json.Unmarshal(body, &top); err != nil {
		return ledger.Changes{}, fmt.Errorf("document %s: %w", e.Stream, err)
	}
	d.Body = body
	d.Ref, _ = top.Ref.(string)
	if top.Expires != nil {
		s, err := top.Expires.Int64()
		if err != nil {
			return ledger.Changes{}, fmt.Errorf("document %s: expires_at: want Unix seconds: %w", e.Stream, err)
		}
		if s != 0 {
			d.Expires = time.Unix(s, 0).UTC()
		}
	}
	return ledger.Changes{Documents: []ledger.Document{d}}, nil
}
