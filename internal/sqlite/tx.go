package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// connect takes the one writing connection.
func (s *Store) connect(ctx context.Context) error {
	conn, err := s.writes.Conn(ctx)
	if err != nil {
		return err
	}
	s.conn, s.prep = conn, make(map[string]*sql.Stmt)
	return nil
}

func (s *Store) disconnect() {
	for _, st := range s.prep {
		_ = st.Close()
	}
	s.prep = nil
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Reopen implements ledger.Engine. A failed fsync may have left pages in the
// system's cache that look written: the checkpoint moves all that the write-ahead
// log holds into the database and syncs both, so that what Head reads afterwards
// is on disk. While that fails the store stays unavailable.
func (s *Store) Reopen(ctx context.Context) error {
	s.disconnect()
	if s.writes != nil {
		_ = s.writes.Close()
	}
	db, err := open(s.dsn(true), 1)
	if err != nil {
		return failed("reopen", err)
	}
	s.writes = db
	var busy, log, moved int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(FULL)").Scan(&busy, &log, &moved); err != nil {
		return failed("reopen", explain(s.path, err))
	}
	if busy != 0 {
		return failed("reopen", errors.New("readers held up the checkpoint; trying again"))
	}
	return failed("reopen", s.connect(ctx))
}

// tx is the write transaction under way; one at a time.
type tx struct {
	s    *Store
	done bool
}

// Begin implements ledger.Engine.
func (s *Store) Begin(ctx context.Context) (ledger.Tx, error) {
	if s.conn == nil {
		return nil, failed("begin", errors.New("the store is closed or read-only"))
	}
	t := &tx{s: s}
	if err := t.raw(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, failed("begin", explain(s.path, err))
	}
	return t, nil
}

// stmt implements prepared on the writing connection.
func (t *tx) stmt(ctx context.Context, name string) (*sql.Stmt, error) {
	if st := t.s.prep[name]; st != nil {
		return st, nil
	}
	text, ok := writes[name]
	if !ok {
		if text, ok = queries[name]; !ok {
			text = name // BEGIN, SAVEPOINT …
		}
	}
	st, err := t.s.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, failed(name, explain(t.s.path, err))
	}
	t.s.prep[name] = st
	return st, nil
}

func (t *tx) raw(ctx context.Context, text string) error {
	st, err := t.stmt(ctx, text)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(ctx)
	return err
}

// exec runs a named write and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, name string, args ...any) (int64, error) {
	st, err := t.stmt(ctx, name)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(ctx, args...)
	if isConstraint(err) {
		return 0, fmt.Errorf("%w: %s: %w", ledger.ErrConflict, name, err)
	}
	if err != nil {
		return 0, failed(name, explain(t.s.path, err))
	}
	n, err := r.RowsAffected()
	return n, failed(name, err)
}

// Nest implements ledger.Tx.
func (t *tx) Nest(fn func() error) (err error, broken bool) {
	ctx := context.Background()
	if err := t.raw(ctx, "SAVEPOINT append"); err != nil {
		return failed("savepoint", err), true
	}
	if err := fn(); err != nil {
		if e := t.raw(ctx, "ROLLBACK TO append"); e != nil {
			return errors.Join(failed("undo", e), err), true
		}
		if e := t.raw(ctx, "RELEASE append"); e != nil {
			return errors.Join(failed("undo", e), err), true
		}
		return err, false
	}
	if err := t.raw(ctx, "RELEASE append"); err != nil {
		return failed("savepoint", err), true
	}
	return nil, false
}

// TokenByID implements ledger.Rows.
func (t *tx) TokenByID(ctx context.Context, id mintmark.TokenID) (ledger.TokenRow, error) {
	return one(ctx, t, qTokenByID, scanToken, string(id))
}

// Family implements ledger.Rows.
func (t *tx) Family(ctx context.Context, id mintmark.FamilyID) (ledger.FamilyRow, error) {
	return one(ctx, t, qFamily, scanFamily, string(id))
}

// Grant implements ledger.Rows.
func (t *tx) Grant(ctx context.Context, id mintmark.GrantID) (ledger.GrantRow, error) {
	return one(ctx, t, qGrant, scanGrant, string(id))
}

// Version implements ledger.Tx.
func (t *tx) Version(ctx context.Context, stream string) (uint64, error) {
	return version(ctx, t, stream)
}

// Once implements ledger.Tx.
func (t *tx) Once(ctx context.Context, o ledger.Once, now time.Time) error {
	key := o.Key
	if len(key) > 512 {
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	// A mark lasts through the whole second that it names.
	n, err := t.exec(ctx, wOnce, o.Space, key, o.Expires.Unix()+1, now.Unix())
	if err == nil && n == 0 {
		return &ledger.UsedError{Space: o.Space}
	}
	return err
}

// Write implements ledger.Tx.
func (t *tx) Write(ctx context.Context, e *ledger.StoredEvent) error {
	token := e.Token
	if own, ok := ownStream(e.Stream); ok && own == token {
		token = ""
	}
	_, err := t.exec(ctx, wEvent, e.Seq, e.Stream, e.Version, string(e.Type), e.At.UnixMilli(), e.Actor,
		string(token), e.Subject, string(e.Client), string(e.Release), []byte(e.Data), e.Salt[:])
	return err
}

// Gone implements ledger.Tx.
func (t *tx) Gone(ctx context.Context, stream string) (bool, error) {
	kind, id, ok := ledger.DocumentStream(stream)
	if !ok {
		return false, nil
	}
	_, err := one(ctx, t, qDocument, scanDocument, kind, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// chunk is how many stored hashes share a row.
const chunk = 64

// Commit implements ledger.Tx.
func (t *tx) Commit(ctx context.Context, at int64, hashes []tlog.Hash, head ledger.Head) error {
	for len(hashes) > 0 {
		id, have := at/chunk, int(at%chunk)
		var blob []byte
		if have > 0 {
			var err error
			if blob, err = one(ctx, t, qHashes, scanBlob, id); err != nil {
				return failed("hashes", err)
			}
			if len(blob) != have*tlog.HashSize {
				return failed("hashes", fmt.Errorf("row %d holds %d bytes, expected %d", id, len(blob), have*tlog.HashSize))
			}
		}
		n := min(len(hashes), chunk-have)
		for _, h := range hashes[:n] {
			blob = append(blob, h[:]...)
		}
		if _, err := t.exec(ctx, wHashes, id, blob); err != nil {
			return err
		}
		hashes, at = hashes[n:], at+int64(n)
	}
	edge := make([]byte, 0, len(head.Edge)*tlog.HashSize)
	for _, h := range head.Edge {
		edge = append(edge, h[:]...)
	}
	signed := head.Signed
	if signed == nil {
		signed = []byte{}
	}
	_, err := t.exec(ctx, wHead, head.Seq, head.At, head.Issued, head.RowSeq, head.RowHash[:], head.Term, edge, signed)
	if err != nil {
		return err
	}
	if err := t.raw(ctx, "COMMIT"); err != nil {
		return failed("commit", explain(t.s.path, err))
	}
	t.done = true
	return nil
}

func scanBlob(r scanner) (b []byte, err error) { return b, r.Scan(&b) }

// Rollback implements ledger.Tx.
func (t *tx) Rollback() error {
	if t.done {
		return nil
	}
	t.done = true
	return failed("rollback", t.raw(context.Background(), "ROLLBACK"))
}

// boot notes that a batch was folded, or returns ErrUsed when it already was.
func (t *tx) boot(ctx context.Context, u *ledger.Usage) error {
	upto, above, err := boots(ctx, t, u.Gateway, u.Boot)
	if err != nil {
		return err
	}
	i, found := slices.BinarySearch(above, u.Seq)
	if u.Seq <= upto || found {
		return fmt.Errorf("%w: batch %d of %s %s", ledger.ErrUsed, u.Seq, u.Gateway, u.Boot)
	}
	above = slices.Insert(above, i, u.Seq)
	for len(above) > 0 && above[0] == upto+1 {
		upto, above = upto+1, above[1:]
	}
	text, err := json.Marshal(above)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, wBoot, string(u.Gateway), string(u.Boot), upto, string(text))
	return err
}
