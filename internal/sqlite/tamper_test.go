package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/storetest"
)

// populate leaves a store with something in every table, and how to check it.
func populate(t *testing.T, dir string) ledger.Checks {
	t.Helper()
	b := storetest.Start(t, open(t, dir))
	var ids []mintmark.TokenID
	for i := range 80 {
		id, e := b.Token(func(d *mintmark.TokenIssued) { d.Handle = fmt.Appendf(nil, "%032d", i) })
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
		ids = append(ids, id)
	}
	b.Must(t, ledger.Batch{Events: []mintmark.Event{
		storetest.Event("grant/g", mintmark.EventGrantMade, mintmark.GrantMade{Grant: "g", Subject: "ann", Client: "web"}),
		storetest.Event("family/f", mintmark.EventFamilyOpened, mintmark.FamilyOpened{Family: "f", Grant: "g", Current: ids[0]}),
		storetest.Event("client/web", "client.changed", map[string]any{"ref": "web", "expires_at": 1900000000}),
		storetest.Event("gateway/gw", mintmark.EventUsageRecorded, bus.RecordBatch{
			V: 1, Gateway: "gw", Boot: "b", Seq: 1,
			Usage: []bus.UsageDelta{{Token: ids[1], Release: "orders/v1", Served: "orders/v1", Route: "orders/list", N: 1, First: 1, Last: 2}},
		}),
	}, Row: b.Row(func(r *epoch.Row) {
		r.Revocations = []mintmark.Revocation{{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "ann"}}}
	})})
	b.Verify(t)
	checks := b.Checks(t)
	b.Stop()
	return checks
}

// verify opens a store as a stranger would and counts what is wrong with it.
func verify(t *testing.T, dir string, checks ledger.Checks) []string {
	t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		return []string{err.Error()}
	}
	defer s.Close()
	r, err := ledger.Verify(context.Background(), s, checks)
	if err != nil {
		return []string{err.Error()}
	}
	return r.Problems
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// columns lists every column that verification answers for.
func columns(t *testing.T, db *sql.DB) [][2]string {
	t.Helper()
	rows, err := db.Query(`SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT IN ('goose_db_version', 'sqlite_sequence', 'once', 'sealed')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out [][2]string
	for rows.Next() {
		var c [2]string
		if err := rows.Scan(&c[0], &c[1]); err != nil {
			t.Fatal(err)
		}
		// A token's rowid only orders pages; the lowest bound of what may be issued
		// may always be raised.
		if c != [2]string{"tokens", "n"} && c != [2]string{"head", "issued"} {
			out = append(out, c)
		}
	}
	return out
}

// alter changes one value: numbers by one, texts and blobs by a bit.
func alter(v any, r *rand.Rand) any {
	switch v := v.(type) {
	case int64:
		return v + 1
	case string:
		if v == "" {
			return "x"
		}
		b := []byte(v)
		b[r.IntN(len(b))] ^= 1
		return string(b)
	case []byte:
		if len(v) == 0 {
			return []byte{1}
		}
		b := bytes.Clone(v)
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}
	return nil
}

// TestVerifyTamper changes one value in each column of each table in turn, at
// random rows, and removes, doubles and truncates: each must be found.
func TestVerifyTamper(t *testing.T) {
	dir := t.TempDir()
	checks := populate(t, dir)
	if p := verify(t, copyDir(t, dir), checks); len(p) != 0 {
		t.Fatalf("untouched: %q", p)
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	db, err := sql.Open("sqlite", filepath.Join(copyDir(t, dir), sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	list := columns(t, db)
	db.Close()
	if len(list) < 70 {
		t.Fatalf("only %d columns", len(list))
	}
	for _, c := range list {
		if testing.Short() && r.IntN(4) != 0 {
			continue
		}
		d := copyDir(t, dir)
		if !tamper(t, d, r, func(db *sql.DB) (bool, error) { return change(db, c[0], c[1], r) }) {
			continue
		}
		if p := verify(t, d, checks); len(p) == 0 {
			t.Errorf("a change of %s.%s goes unnoticed (seed %d)", c[0], c[1], seed)
		}
	}
	for _, text := range []string{
		`DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)`,
		`DELETE FROM events WHERE seq = 40`,
		`DELETE FROM tokens WHERE n = 7`,
		`DELETE FROM usage_tokens`,
		`DELETE FROM head`,
		`DELETE FROM hashes WHERE chunk = (SELECT max(chunk) FROM hashes)`,
		`INSERT INTO hashes VALUES (99, zeroblob(32))`,
		`INSERT INTO documents VALUES ('client', 'evil', 1, x'7b7d', NULL, NULL, 0)`,
		`UPDATE events SET seq = -seq WHERE seq IN (4, 5); UPDATE events SET seq = 9 + seq WHERE seq < 0`,
	} {
		d := copyDir(t, dir)
		tamper(t, d, r, func(db *sql.DB) (bool, error) { _, err := db.Exec(text); return err == nil, err })
		if p := verify(t, d, checks); len(p) == 0 {
			t.Errorf("goes unnoticed: %s", text)
		}
	}
}

func tamper(t *testing.T, dir string, _ *rand.Rand, do func(*sql.DB) (bool, error)) bool {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	changed, err := do(db)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// change alters one row's column; false when the column is empty in all rows, or
// its table's constraints refuse the change.
func change(db *sql.DB, table, column string, r *rand.Rand) (bool, error) {
	rows, err := db.Query("SELECT DISTINCT " + column + " FROM " + table + " WHERE " + column + " IS NOT NULL")
	if err != nil {
		return false, err
	}
	var values []any
	for rows.Next() {
		var v any
		if err := rows.Scan(&v); err != nil {
			return false, err
		}
		values = append(values, v)
	}
	rows.Close()
	if len(values) == 0 {
		return false, nil
	}
	old := values[r.IntN(len(values))]
	if _, number := old.(int64); number {
		old = values[len(values)-1] // the highest key: one more breaks no uniqueness
	}
	res, err := db.Exec("UPDATE "+table+" SET "+column+" = ?2 WHERE "+column+" = ?1", old, alter(old, r))
	if err != nil {
		return false, nil
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// TestVerifyFlippedBits flips random bits of the file itself.
func TestVerifyFlippedBits(t *testing.T) {
	dir := t.TempDir()
	checks := populate(t, dir)
	tamper(t, dir, nil, func(db *sql.DB) (bool, error) { _, err := db.Exec("VACUUM"); return true, err })
	whole, err := os.ReadFile(filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	var used []int // offsets within something that is stored
	for _, needle := range []string{"orders:read", "https://orders.example", "token.issued", "system:test", "user-"} {
		for at := 0; ; {
			i := bytes.Index(whole[at:], []byte(needle))
			if i < 0 {
				break
			}
			used = append(used, at+i+len(needle)/2)
			at += i + 1
		}
	}
	before := dump(t, dir) // a bit in a page's unused rest changes nothing
	found := 0
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	flips := 40
	if testing.Short() {
		flips = 15
	}
	for range flips {
		d := t.TempDir()
		b := bytes.Clone(whole)
		at := used[r.IntN(len(used))]
		b[at] ^= 1 << r.IntN(8)
		if err := os.WriteFile(filepath.Join(d, sqlite.File), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if p := verify(t, d, checks); len(p) == 0 && dump(t, d) != before {
			t.Errorf("a flipped bit at %d goes unnoticed (seed %d)", at, seed)
		} else if len(p) > 0 {
			found++
		}
	}
	if found < flips/4 {
		t.Errorf("only %d of %d flips hit anything", found, flips)
	}
}

// dump is all that the tables hold, through their rows and not their indexes.
func dump(t *testing.T, dir string) string {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b bytes.Buffer
	for _, c := range columns(t, db) {
		rows, err := db.Query("SELECT quote(" + c[1] + ") FROM " + c[0] + " NOT INDEXED")
		if err != nil {
			return err.Error()
		}
		for rows.Next() {
			var v string
			if err := rows.Scan(&v); err != nil {
				return err.Error()
			}
			b.WriteString(v + "\n")
		}
		rows.Close()
	}
	return b.String()
}
