package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// StoredHashes implements ledger.Evidence.
func (s *Store) StoredHashes(ctx context.Context, at int64) ([]tlog.Hash, error) {
	blob, err := one(ctx, s, qHashes, scanBlob, at/chunk)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(blob)%tlog.HashSize != 0 || len(blob) > chunk*tlog.HashSize {
		return nil, fmt.Errorf("row of %d bytes", len(blob))
	}
	var out []tlog.Hash
	for i := int(at%chunk) * tlog.HashSize; i < len(blob); i += tlog.HashSize {
		out = append(out, tlog.Hash(blob[i:i+tlog.HashSize]))
	}
	return out, nil
}

// inspections read whole tables, on purpose: they belong to verification alone.
var inspections = []struct{ what, text string }{
	{"stream with gaps in its versions", `SELECT stream FROM events GROUP BY stream HAVING count(*) <> max(version) OR min(version) <> 1 LIMIT 10`},
	{"stream whose versions are out of order", `SELECT stream FROM (SELECT stream, seq, lag(seq) OVER (PARTITION BY stream ORDER BY version) AS before FROM events) WHERE before > seq LIMIT 10`},
	{"row of hashes out of place", `SELECT chunk FROM hashes WHERE length(hashes) % 32 <> 0 OR (length(hashes) <> 2048 AND chunk <> (SELECT max(chunk) FROM hashes)) LIMIT 10`},
	{"more than one head, or none with events", `SELECT 'head' WHERE (SELECT count(*) FROM head) <> 1 AND EXISTS (SELECT 1 FROM events)`},
}

// Inspect implements ledger.Evidence.
func (s *Store) Inspect(ctx context.Context) ([]string, error) {
	found, err := s.texts(ctx, "PRAGMA integrity_check(20)")
	if err != nil {
		return []string{explain(s.path, err).Error()}, ctx.Err()
	}
	if len(found) == 1 && found[0] == "ok" {
		found = nil
	}
	for _, i := range inspections {
		list, err := s.texts(ctx, i.text)
		if err != nil {
			return append(found, explain(s.path, err).Error()), ctx.Err()
		}
		for _, v := range list {
			found = append(found, i.what+": "+v)
		}
	}
	return found, nil
}

func (s *Store) texts(ctx context.Context, query string) ([]string, error) {
	rows, err := s.reads.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// Scratch implements ledger.Evidence: a store in a temporary directory, without
// fsync.
func (s *Store) Scratch(ctx context.Context) (ledger.Scratch, error) {
	dir, err := os.MkdirTemp("", "mintmark-verify-")
	if err != nil {
		return nil, err
	}
	st, err := Open(ctx, Options{Dir: dir, Scratch: true, Readers: 1})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &scratch{st, dir}, nil
}

type scratch struct {
	*Store
	dir string
}

// Close implements ledger.Scratch.
func (s *scratch) Close() error { return errors.Join(s.Store.Close(), os.RemoveAll(s.dir)) }

// models are the tables that folding the events again must give, with the order
// to compare them in. Sealed answers and single-use marks are not events'.
var models = []struct{ table, columns, order string }{
	{"tokens", "id, kind, issuer, subject, client, grant_id, family, release, key, seq, iat, exp, scopes, audience, handle, body, state, reason, by_id, version", "id"},
	{"families", "*", "id"},
	{"grants", "*", "id"},
	{"documents", "*", "kind, id"},
	{"state_rows", "*", "seq"},
	{"revocations", "*", "id"},
	{"usage_tokens", "*", "token"},
	{"usage_routes", "*", "token, route, served, code"},
	{"usage_hours", "*", "hour, release, served, route, code"},
	{"boots", "*", "gateway, boot"},
}

// Differ implements ledger.Scratch.
func (s *scratch) Differ(ctx context.Context, original ledger.Evidence, limit int) ([]string, error) {
	o, ok := original.(*Store)
	if !ok {
		return nil, fmt.Errorf("sqlite: cannot compare with a %T", original)
	}
	var out []string
	for _, m := range models {
		text := "SELECT " + m.columns + " FROM " + m.table + " NOT INDEXED ORDER BY " + m.order
		if len(out) >= limit {
			break
		}
		found, err := differ(ctx, o.reads, s.reads, text, limit-len(out))
		if err != nil {
			return out, fmt.Errorf("%s: %w", m.table, err)
		}
		for _, f := range found {
			out = append(out, m.table+": "+f)
		}
	}
	return out, nil
}

// differ walks two result sets side by side until they part.
func differ(ctx context.Context, a, b *sql.DB, text string, limit int) ([]string, error) {
	ra, err := a.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer ra.Close()
	rb, err := b.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rb.Close()
	cols, err := ra.Columns()
	if err != nil {
		return nil, err
	}
	va, vb := make([]any, len(cols)), make([]any, len(cols))
	pa, pb := make([]any, len(cols)), make([]any, len(cols))
	for i := range cols {
		pa[i], pb[i] = &va[i], &vb[i]
	}
	var out []string
	for n := 1; len(out) < limit; n++ {
		na, nb := ra.Next(), rb.Next()
		if !na && !nb {
			break
		}
		if na != nb {
			which := "stored ends early: lacks"
			row := rb
			vals, ptr := vb, pb
			if na {
				which, row, vals, ptr = "stored has, folding again has not:", ra, va, pa
			}
			if err := row.Scan(ptr...); err != nil {
				return out, err
			}
			return append(out, fmt.Sprintf("%s row %d, %s", which, n, show(vals[0]))), errors.Join(ra.Err(), rb.Err())
		}
		if err := errors.Join(ra.Scan(pa...), rb.Scan(pb...)); err != nil {
			return out, err
		}
		var diff []string
		for i := range cols {
			if !equal(va[i], vb[i]) {
				diff = append(diff, cols[i])
			}
		}
		if len(diff) > 0 {
			out = append(out, fmt.Sprintf("row %s: stored %s differs from the events", show(va[0]), strings.Join(diff, ", ")))
			if diff[0] == cols[0] {
				break // the rows are not of the same thing any more
			}
		}
	}
	return out, errors.Join(ra.Err(), rb.Err())
}

func equal(a, b any) bool {
	x, ok := a.([]byte)
	y, ok2 := b.([]byte)
	if ok || ok2 {
		return ok && ok2 && bytes.Equal(x, y)
	}
	return a == b
}

func show(v any) string {
	if b, ok := v.([]byte); ok {
		return fmt.Sprintf("%.60q", b)
	}
	return fmt.Sprintf("%.60v", v)
}

// States implements ledger.Scratch.
func (s *Store) States(ctx context.Context, now time.Time) (map[mintmark.TokenState]uint64, error) {
	rows, err := s.reads.QueryContext(ctx, `SELECT CASE
		WHEN t.state IN (1, 2, 3) AND t.exp <= ?1 THEN 4
		WHEN t.state = 1 AND u.first > 0 THEN 2
		ELSE t.state END, count(*) FROM tokens t LEFT JOIN usage_tokens u ON u.token = t.id GROUP BY 1`, now.Unix())
	if err != nil {
		return nil, failed("states", err)
	}
	defer rows.Close()
	out := make(map[mintmark.TokenState]uint64)
	for rows.Next() {
		var state mintmark.TokenState
		var n uint64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, failed("states", err)
		}
		out[state] = n
	}
	return out, failed("states", rows.Err())
}
