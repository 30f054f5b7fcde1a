package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// prepared gives a named query's statement: of the reading pool, or of the write
// transaction under way.
type prepared interface {
	stmt(ctx context.Context, name string) (*sql.Stmt, error)
}

// scanner is a row or the rows of a query.
type scanner interface{ Scan(dest ...any) error }

// one runs a query for a single row.
func one[T any](ctx context.Context, p prepared, name string, scan func(scanner) (T, error), args ...any) (T, error) {
	var zero T
	st, err := p.stmt(ctx, name)
	if err != nil {
		return zero, err
	}
	v, err := scan(st.QueryRowContext(ctx, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return zero, fmt.Errorf("%w: %s", ledger.ErrNotFound, name)
	}
	return v, failed(name, err)
}

// many runs a query for a page of rows.
func many[T any](ctx context.Context, p prepared, name string, scan func(scanner) (T, error), args ...any) ([]T, error) {
	st, err := p.stmt(ctx, name)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, failed(name, err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, failed(name, err)
		}
		out = append(out, v)
	}
	return out, failed(name, rows.Err())
}

// tokenBody is the part of a token's row that never changes.
type tokenBody struct {
	Token  mintmark.Token   `json:"token"`
	Parent mintmark.TokenID `json:"parent,omitempty"`
	Name   string           `json:"name,omitempty"`
	Owner  string           `json:"owner,omitempty"`
}

func scanToken(r scanner) (t ledger.TokenRow, err error) {
	var id string
	var kind int
	var body []byte
	err = r.Scan(&id, &kind, &body, &t.State, &t.Reason, &t.By, &t.Version, &t.Handle,
		&t.Uses, &t.Refused, &t.FirstSeen, &t.LastSeen, &t.LastGateway, &t.LastRoute)
	if err != nil {
		return t, err
	}
	var b tokenBody
	if err := json.Unmarshal(body, &b); err != nil {
		return t, fmt.Errorf("token %s: %w", id, err)
	}
	t.Token, t.Parent, t.Name, t.Owner = b.Token, b.Parent, b.Name, b.Owner
	return t, nil
}

func scanFamily(r scanner) (f ledger.FamilyRow, err error) {
	var body []byte
	var until sql.NullInt64
	err = r.Scan(&f.ID, &f.Grant, &f.Current, &f.Previous, &f.GraceUntil, &f.Revoked, &f.Reason, &f.Version, &body, &until)
	if until.Valid && until.Int64 == f.GraceUntil {
		f.Sealed = body
	}
	return f, err
}

func scanGrant(r scanner) (g ledger.GrantRow, err error) {
	var body []byte
	if err := r.Scan(&body, &g.Revoked, &g.Reason, &g.Version); err != nil {
		return g, err
	}
	return g, json.Unmarshal(body, &g.GrantMade)
}

func scanDocument(r scanner) (d ledger.Document, err error) {
	var expires, updated int64
	if err := r.Scan(&d.Kind, &d.ID, &d.Version, &d.Body, &d.Ref, &expires, &updated); err != nil {
		return d, err
	}
	if expires != 0 {
		d.Expires = time.Unix(expires, 0).UTC()
	}
	d.Updated = time.UnixMilli(updated).UTC()
	return d, nil
}

func scanEvent(r scanner) (e ledger.StoredEvent, err error) {
	var at int64
	var salt, data []byte
	err = r.Scan(&e.Seq, &e.Stream, &e.Version, &e.Type, &at, &e.Actor, &e.Token, &e.Subject, &e.Client, &e.Release, &data, &salt)
	if err != nil {
		return e, err
	}
	if len(salt) != len(e.Salt) {
		return e, fmt.Errorf("event %d: salt of %d bytes", e.Seq, len(salt))
	}
	copy(e.Salt[:], salt)
	e.Data = data
	e.At = time.UnixMilli(at).UTC()
	if own, ok := ownStream(e.Stream); ok && e.Token == "" {
		e.Token = own
	}
	return e, nil
}

func scanID[T ~string](r scanner) (id T, err error) { return id, r.Scan(&id) }

func scanRow(r scanner) (s ledger.StateRow, err error) {
	var hash, prev []byte
	err = r.Scan(&s.Seq, &hash, &prev, &s.Term, &s.Epoch, &s.Issued, &s.Event, &s.Body, &s.Signature)
	copy(s.Hash[:], hash)
	copy(s.Prev[:], prev)
	return s, err
}

func scanRevocation(r scanner) (a ledger.ActiveRevocation, err error) {
	return a, r.Scan(&a.ID, &a.RowSeq, &a.Forget, &a.Body)
}

// ownStream returns the token whose stream it is.
func ownStream(stream string) (mintmark.TokenID, bool) {
	if len(stream) > 6 && stream[:6] == "token/" {
		return mintmark.TokenID(stream[6:]), true
	}
	return "", false
}

// TokenByID returns a token's row.
func (s *Store) TokenByID(ctx context.Context, id mintmark.TokenID) (ledger.TokenRow, error) {
	return one(ctx, s, qTokenByID, scanToken, string(id))
}

// TokenByHandle returns the row of an opaque value by its handle
// (keyring.Handle).
func (s *Store) TokenByHandle(ctx context.Context, handle []byte) (ledger.TokenRow, error) {
	return one(ctx, s, qTokenByHandle, scanToken, handle)
}

// Family returns a family's row, with the sealed answer while it is kept.
func (s *Store) Family(ctx context.Context, id mintmark.FamilyID) (ledger.FamilyRow, error) {
	return one(ctx, s, qFamily, scanFamily, string(id))
}

// Grant returns a grant's row.
func (s *Store) Grant(ctx context.Context, id mintmark.GrantID) (ledger.GrantRow, error) {
	return one(ctx, s, qGrant, scanGrant, string(id))
}

// GrantsOfSubject returns grants of a subject in order of id, after one.
func (s *Store) GrantsOfSubject(ctx context.Context, subject string, after mintmark.GrantID, limit int) ([]ledger.GrantRow, error) {
	return many(ctx, s, qGrantsSubject, scanGrant, subject, string(after), bound(limit))
}

// FamiliesOfGrant returns the ids of a grant's families.
func (s *Store) FamiliesOfGrant(ctx context.Context, id mintmark.GrantID) ([]mintmark.FamilyID, error) {
	return many(ctx, s, qFamiliesOfGrant, scanID[mintmark.FamilyID], string(id))
}

// TokensOfFamily returns the ids of a family's tokens, in order of expiry.
func (s *Store) TokensOfFamily(ctx context.Context, id mintmark.FamilyID) ([]mintmark.TokenID, error) {
	return many(ctx, s, qTokensFamily, scanID[mintmark.TokenID], string(id))
}

// Document returns the document of a kind and id. One past its expiry is still
// returned until it is purged: whoever reads it checks Expires.
func (s *Store) Document(ctx context.Context, kind, id string) (ledger.Document, error) {
	return one(ctx, s, qDocument, scanDocument, kind, id)
}

// DocumentByRef returns the document of a kind by its second name.
func (s *Store) DocumentByRef(ctx context.Context, kind, ref string) (ledger.Document, error) {
	return one(ctx, s, qDocumentByRef, scanDocument, kind, ref)
}

// Documents returns documents of a kind in order of id, after one.
func (s *Store) Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error) {
	return many(ctx, s, qDocuments, scanDocument, kind, after, bound(limit))
}

// Events returns a stream's events with versions above after.
func (s *Store) Events(ctx context.Context, stream string, after uint64, limit int) ([]mintmark.Event, error) {
	return plain(many(ctx, s, qEventsOfStream, scanEvent, stream, after, bound(limit)))
}

// EventsAfter returns all events with numbers above seq, in order.
func (s *Store) EventsAfter(ctx context.Context, seq uint64, limit int) ([]mintmark.Event, error) {
	return plain(many(ctx, s, qEventsAfter, scanEvent, seq, bound(limit)))
}

// StoredEvents is EventsAfter with the salts, for verification.
func (s *Store) StoredEvents(ctx context.Context, seq uint64, limit int) ([]ledger.StoredEvent, error) {
	return many(ctx, s, qEventsAfter, scanEvent, seq, limit)
}

// EventsOf returns events that name a token, subject, client or release, with
// numbers above after, in order. Events on tokens' own streams are found by token
// and subject only.
func (s *Store) EventsOf(ctx context.Context, dimension, value string, after uint64, limit int) ([]mintmark.Event, error) {
	switch dimension {
	case "token", "subject", "client", "release":
		return plain(many(ctx, s, "events_of_"+dimension, scanEvent, value, after, bound(limit)))
	}
	return nil, fmt.Errorf("sqlite: no events by %q: want token, subject, client or release", dimension)
}

// StreamVersion returns a stream's version, 0 when there is none: for Expect.
func (s *Store) StreamVersion(ctx context.Context, stream string) (uint64, error) {
	return version(ctx, s, stream)
}

// StateRows returns rows of the state log from a number on.
func (s *Store) StateRows(ctx context.Context, from uint64, limit int) ([]ledger.StateRow, error) {
	return many(ctx, s, qStateRows, scanRow, from, bound(limit))
}

// StateRow returns one row of the state log.
func (s *Store) StateRow(ctx context.Context, seq uint64) (ledger.StateRow, error) {
	return one(ctx, s, qStateRow, scanRow, seq)
}

// StateHead returns the last row's number, hash and term; zeroes before the first.
func (s *Store) StateHead(ctx context.Context) (seq uint64, hash [32]byte, term uint64, err error) {
	h, err := s.Head(ctx)
	return h.RowSeq, h.RowHash, h.Term, err
}

// ActiveRevocations returns revocations in force in order of (row, id), after
// one; the zero ActiveRevocation starts.
func (s *Store) ActiveRevocations(ctx context.Context, after ledger.ActiveRevocation, limit int) ([]ledger.ActiveRevocation, error) {
	return many(ctx, s, qRevocations, scanRevocation, after.RowSeq, string(after.ID), bound(limit))
}

// UsageOf returns what a token did, and on which routes. A token never seen has
// the zero TokenUsage.
func (s *Store) UsageOf(ctx context.Context, id mintmark.TokenID) (ledger.TokenUsage, []ledger.RouteUsage, error) {
	u, err := one(ctx, s, qUsageOfToken, func(r scanner) (u ledger.TokenUsage, err error) {
		return u, r.Scan(&u.Uses, &u.Refused, &u.First, &u.Last, &u.Gateway, &u.Route)
	}, string(id))
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return u, nil, err
	}
	u.Token = id
	routes, err := many(ctx, s, qRoutesOfToken, func(r scanner) (u ledger.RouteUsage, err error) {
		u.Token = id
		return u, r.Scan(&u.Route, &u.Served, &u.Code, &u.N, &u.First, &u.Last)
	}, string(id))
	return u, routes, err
}

// UsageHours returns the totals of hours from ≤ start < to, Unix seconds.
func (s *Store) UsageHours(ctx context.Context, from, to int64) ([]ledger.HourUsage, error) {
	return many(ctx, s, qHours, func(r scanner) (u ledger.HourUsage, err error) {
		return u, r.Scan(&u.Hour, &u.Release, &u.Served, &u.Route, &u.Code, &u.N)
	}, from, to)
}

// Recorded returns up to which batch of a gateway's boot all are folded.
func (s *Store) Recorded(ctx context.Context, gateway mintmark.GatewayID, boot mintmark.BootID) (uint64, error) {
	upto, _, err := boots(ctx, s, gateway, boot)
	return upto, err
}

// Due reports whether Purge would find anything at now.
func (s *Store) Due(ctx context.Context, now time.Time) (bool, error) {
	return one(ctx, s, qDue, func(r scanner) (due bool, err error) { return due, r.Scan(&due) }, now.Unix(), now.UnixMilli())
}

// Head implements ledger.Engine, and tells anybody where the store stands.
func (s *Store) Head(ctx context.Context) (ledger.Head, error) {
	h, err := one(ctx, s, qHead, scanHead)
	if errors.Is(err, ledger.ErrNotFound) {
		return ledger.Head{}, nil
	}
	return h, err
}

func scanHead(r scanner) (h ledger.Head, err error) {
	var hash, edge []byte
	if err := r.Scan(&h.Seq, &h.At, &h.Issued, &h.RowSeq, &hash, &h.Term, &edge, &h.Signed); err != nil {
		return h, err
	}
	if len(hash) != 32 || len(edge)%tlog.HashSize != 0 {
		return h, errors.New("the head's row is damaged")
	}
	copy(h.RowHash[:], hash)
	for ; len(edge) > 0; edge = edge[tlog.HashSize:] {
		h.Edge = append(h.Edge, tlog.Hash(edge[:tlog.HashSize]))
	}
	return h, nil
}

func version(ctx context.Context, p prepared, stream string) (uint64, error) {
	v, err := one(ctx, p, qStreamVersion, func(r scanner) (v uint64, err error) { return v, r.Scan(&v) }, stream)
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, nil
	}
	return v, err
}

func boots(ctx context.Context, p prepared, gateway mintmark.GatewayID, boot mintmark.BootID) (upto uint64, above []uint64, err error) {
	_, err = one(ctx, p, qBoot, func(r scanner) (struct{}, error) {
		var text []byte
		if err := r.Scan(&upto, &text); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, json.Unmarshal(text, &above)
	}, string(gateway), string(boot))
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, nil, nil
	}
	return upto, above, err
}

func plain(stored []ledger.StoredEvent, err error) ([]mintmark.Event, error) {
	if err != nil {
		return nil, err
	}
	out := make([]mintmark.Event, len(stored))
	for i := range stored {
		out[i] = stored[i].Event
	}
	return out, nil
}

// bound keeps a page between 1 and 1,000 rows; 0 is 100.
func bound(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// never is the stored expiry of a token without one.
const never = math.MaxInt64
