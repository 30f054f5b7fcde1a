package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// GatewayFile is the name of a gateway's database in its directory.
const GatewayFile = "gateway.db"

// gatewayID marks the file (PRAGMA application_id): "Mmg1". gatewayFormat is its
// version: a newer one is refused, an older one brought up.
const (
	gatewayID     = 0x4d6d6731
	gatewayFormat = 1
)

// gatewaySchema is format 1: what the gateway has applied of the state log, and
// the records that the recorder has not acknowledged.
const gatewaySchema = `
CREATE TABLE applied (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	body BLOB NOT NULL
) STRICT;
CREATE TABLE facts (
	id TEXT PRIMARY KEY,
	body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE bodies (
	hash BLOB PRIMARY KEY,
	body BLOB NOT NULL
) STRICT;
CREATE TABLE boots (
	boot TEXT PRIMARY KEY,
	ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE spool (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	boot TEXT NOT NULL,
	seq INTEGER NOT NULL,
	body BLOB NOT NULL,
	UNIQUE (boot, seq)
) STRICT;
CREATE TABLE spooled (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	bytes INTEGER NOT NULL
) STRICT;
INSERT INTO spooled VALUES (1, 0);
CREATE TRIGGER spool_in AFTER INSERT ON spool BEGIN
	UPDATE spooled SET bytes = bytes + length(NEW.body) + 64;
END;
CREATE TRIGGER spool_out AFTER DELETE ON spool BEGIN
	UPDATE spooled SET bytes = bytes - length(OLD.body) - 64;
END;
`

// GatewayStore is a gateway's own disk: follower.Store and spool.Store. One
// connection does all; every write is durable on return (synchronous FULL). It is
// safe for concurrent use, and locked against a second process.
type GatewayStore struct {
	db *sql.DB
}

// OpenGateway opens or makes the store in dir.
func OpenGateway(ctx context.Context, dir string) (*GatewayStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the gateway's store: %w", err)
	}
	path := filepath.Join(dir, GatewayFile)
	q := url.Values{}
	for _, p := range []string{
		"locking_mode(EXCLUSIVE)", "busy_timeout(0)", "journal_mode(WAL)", "synchronous(FULL)",
		"cell_size_check(1)", "temp_store(2)", "journal_size_limit(67108864)",
	} {
		q.Add("_pragma", p)
	}
	q.Add("_txlock", "immediate")
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	db, err := open((&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String(), 1)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &GatewayStore{db: db}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return s, nil
}

// prepare checks the file's format and makes the tables in a new one.
func (s *GatewayStore) prepare(ctx context.Context) error {
	var id, format, tables int
	for pragma, v := range map[string]*int{"PRAGMA application_id": &id, "PRAGMA user_version": &format, "SELECT count(*) FROM sqlite_schema": &tables} {
		if err := s.db.QueryRowContext(ctx, pragma).Scan(v); err != nil {
			return gatewayError(err)
		}
	}
	switch {
	case tables == 0:
	case id != gatewayID:
		return ErrForeign
	case format > gatewayFormat:
		return fmt.Errorf("%w: format %d, this program reads up to %d: run the newer version", ledger.ErrNewer, format, gatewayFormat)
	default:
		var result string
		if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
			return gatewayError(err)
		}
		if result != "ok" {
			return fmt.Errorf("%w: %s; remove the file and let the gateway start afresh", ErrCorrupt, result)
		}
		// Takes the lock now, not at the first write.
		return s.write(ctx, func(*sql.Tx) error { return nil })
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, gatewaySchema+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", gatewayID, gatewayFormat))
		return err
	})
}

// gatewayError names what an operator can act on.
func gatewayError(err error) error {
	if err == nil {
		return nil
	}
	return explain(GatewayFile, err)
}

// Close closes the store.
func (s *GatewayStore) Close() error { return s.db.Close() }

// write runs fn in one transaction, durable when it returns nil.
func (s *GatewayStore) write(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return gatewayError(err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(gatewayError(err), tx.Rollback())
	}
	return gatewayError(tx.Commit())
}

// Load implements follower.Store.
func (s *GatewayStore) Load(ctx context.Context) (bus.Applied, []mintmark.Revocation, error) {
	var (
		a     bus.Applied
		body  []byte
		facts []mintmark.Revocation
	)
	err := s.db.QueryRowContext(ctx, "SELECT body FROM applied").Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return a, nil, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		return a, nil, fmt.Errorf("read what was applied: %w", gatewayError(err))
	}
	rows, err := s.db.QueryContext(ctx, "SELECT body FROM facts")
	if err != nil {
		return a, nil, fmt.Errorf("read the revocations: %w", gatewayError(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var fact mintmark.Revocation
		err := rows.Scan(&body)
		if err == nil {
			err = json.Unmarshal(body, &fact)
		}
		if err != nil {
			return a, nil, fmt.Errorf("read a revocation: %w", gatewayError(err))
		}
		facts = append(facts, fact)
	}
	return a, facts, gatewayError(rows.Err())
}

// Apply implements follower.Store.
func (s *GatewayStore) Apply(ctx context.Context, a bus.Applied, add []mintmark.Revocation, drop []mintmark.RevocationID, reset bool) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if reset {
			if _, err := tx.ExecContext(ctx, "DELETE FROM facts"); err != nil {
				return err
			}
		}
		for i := range add {
			fact, err := json.Marshal(&add[i])
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO facts VALUES (?1, ?2)", string(add[i].ID), fact); err != nil {
				return err
			}
		}
		for _, id := range drop {
			if _, err := tx.ExecContext(ctx, "DELETE FROM facts WHERE id = ?1", string(id)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO applied VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET body = excluded.body", body)
		return err
	})
}

// Bodies implements follower.Store.
func (s *GatewayStore) Bodies(ctx context.Context, hashes []epoch.Hash) (map[epoch.Hash][]byte, error) {
	out := make(map[epoch.Hash][]byte, len(hashes))
	for _, h := range hashes {
		var body []byte
		err := s.db.QueryRowContext(ctx, "SELECT body FROM bodies WHERE hash = ?1", h[:]).Scan(&body)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, fmt.Errorf("read part %s: %w", h, gatewayError(err))
		case epoch.HashOf(body) == h: // a damaged one is as good as none: it is fetched
			out[h] = body
		}
	}
	return out, nil
}

// PutBodies implements follower.Store.
func (s *GatewayStore) PutBodies(ctx context.Context, bodies map[epoch.Hash][]byte, keep []epoch.Hash) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		for h, body := range bodies {
			_, err := tx.ExecContext(ctx, "INSERT INTO bodies VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET body = excluded.body", h[:], body)
			if err != nil {
				return err
			}
		}
		if keep == nil {
			return nil
		}
		kept := make([]string, 0, len(keep)+len(bodies))
		for _, h := range keep {
			kept = append(kept, h.String())
		}
		for h := range bodies {
			kept = append(kept, h.String())
		}
		list, err := json.Marshal(kept)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM bodies WHERE lower(hex(hash)) NOT IN (SELECT value FROM json_each(?1))", string(list))
		return err
	})
}
