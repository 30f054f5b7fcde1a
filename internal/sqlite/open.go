// Package sqlite is the embedded engine: it keeps the ledger in one SQLite file.
//
// One connection writes, owned by the Ledger through Begin; a pool of others
// reads. WAL mode with synchronous=FULL: a commit that returned is on disk. All
// SQL is written by hand and has a name; storetest explains each. The data
// directory is locked against a second process.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	driver "modernc.org/sqlite"

	"github.com/mintmark/mintmark/internal/ledger"
)

//go:embed migrations/*.sql
var migrations embed.FS

// File is the database's name in the data directory.
const File = "ledger.db"

// applicationID marks the file as ours (PRAGMA application_id): "Mmk1".
const applicationID = 0x4d6d6b31

// Errors of opening. Each message says what, where and how to mend.
var (
	ErrLocked   = errors.New("data directory is in use")
	ErrCorrupt  = errors.New("database is damaged")
	ErrForeign  = errors.New("not a Mintmark database")
	ErrReadOnly = errors.New("database cannot be written")
	ErrFull     = errors.New("disk is full")
)

// Options says where and how to open a store.
type Options struct {
	Dir string // data directory; made when missing
	// ReadOnly opens an existing store for reading alone, without taking the lock.
	ReadOnly bool
	// Readers bounds the reading connections (0: 4).
	Readers int
	// Scratch trades durability for speed: for stores that are thrown away.
	Scratch bool
}

// Store is the engine. Reads may be called by any number of goroutines; Begin,
// Head and Reopen belong to the Ledger.
type Store struct {
	opts   Options
	path   string
	lock   *os.File
	reads  *sql.DB
	closed sync.Once

	stmts sync.Map // name → *sql.Stmt of reads

	// Owned by the Ledger's one goroutine.
	writes *sql.DB
	conn   *sql.Conn
	prep   map[string]*sql.Stmt
}

// Open opens or makes the store, takes the lock and brings the format up to date.
// A newer format is ledger.ErrNewer; nothing is changed then.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{opts: o, path: filepath.Join(o.Dir, File)}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if !o.ReadOnly {
		if err := s.takeLock(); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(s.path); err != nil {
		return nil, fmt.Errorf("open %s: %w: run mintmark init first, or name the right data directory", s.path, err)
	}
	if err := checkHeader(s.path); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if s.writes, err = open(s.dsn(true), 1); err != nil {
			return nil, explain(s.path, err)
		}
		if err := s.migrate(ctx); err != nil {
			return nil, err
		}
		if err := s.connect(ctx); err != nil {
			return nil, explain(s.path, err)
		}
	}
	readers := o.Readers
	if readers <= 0 {
		readers = 4
	}
	if s.reads, err = open(s.dsn(false), readers); err != nil {
		return nil, explain(s.path, err)
	}
	if err := s.checkFormat(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// takeLock makes the directory and holds an exclusive flock on its lock file until
// Close, or until the process dies: the kernel lets go then.
func (s *Store) takeLock() error {
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	name := filepath.Join(s.opts.Dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%s: %w: another mintmark process holds %s; stop it, or use another data directory", s.opts.Dir, ErrLocked, name)
		}
		return fmt.Errorf("lock %s: %w", name, err)
	}
	s.lock = f
	return nil
}

// checkHeader tells a file that is no SQLite database before SQLite sees it.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := f.Read(head)
	if n != 0 && string(head[:n]) != "SQLite format 3\x00" {
		return fmt.Errorf("%s: %w: the file does not start like one; restore it from a backup, or move it away and run mintmark init", path, ErrForeign)
	}
	return nil
}

func (s *Store) dsn(write bool) string {
	abs, err := filepath.Abs(s.path)
	if err != nil {
		abs = s.path
	}
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	q.Add("_pragma", "cell_size_check(1)")
	q.Add("_pragma", "temp_store(2)")
	if write {
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", "cache_size(-65536)")
		if s.opts.Scratch {
			q.Add("_pragma", "synchronous(OFF)")
		} else {
			q.Add("_pragma", "synchronous(FULL)")
		}
		// A checkpoint each 64 MB of WAL: pages that change often are written back
		// once instead of at every thousandth page.
		q.Add("_pragma", "wal_autocheckpoint(16384)")
		q.Add("_pragma", "journal_size_limit(134217728)")
	} else {
		q.Add("_pragma", "query_only(1)")
		q.Add("_pragma", "cache_size(-16384)")
	}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	return u.String()
}

func open(dsn string, conns int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func (s *Store) provider(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true))
}

// migrate brings the format up to date, each migration in its own transaction.
func (s *Store) migrate(ctx context.Context) error {
	var app, objects int64
	if err := s.writes.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return explain(s.path, err)
	}
	if err := s.writes.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
		return explain(s.path, err)
	}
	if app != applicationID && objects != 0 {
		return fmt.Errorf("%s: %w: it belongs to another program; name the right data directory", s.path, ErrForeign)
	}
	// First of all, so that a file of ours is known as such even if the process
	// dies here.
	if app != applicationID {
		if _, err := s.writes.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return explain(s.path, err)
		}
	}
	p, err := s.provider(s.writes)
	if err != nil {
		return err
	}
	if err := s.refuseNewer(ctx, p); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return explain(s.path, fmt.Errorf("bring the data format up to date: %w", err))
	}
	return nil
}

// refuseNewer compares the file's format with the newest that this program knows.
func (s *Store) refuseNewer(ctx context.Context, p *goose.Provider) error {
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return explain(s.path, err)
	}
	sources := p.ListSources()
	if known := sources[len(sources)-1].Version; version > known {
		return fmt.Errorf("%s: %w: format %d, this program reads up to %d; run the mintmark version that wrote it, or a later one", s.path, ledger.ErrNewer, version, known)
	}
	return nil
}

// checkFormat is the reader's check, which changes nothing.
func (s *Store) checkFormat(ctx context.Context) error {
	var app int64
	if err := s.reads.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return explain(s.path, err)
	}
	if app != applicationID {
		return fmt.Errorf("%s: %w", s.path, ErrForeign)
	}
	var version int64
	if err := s.reads.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&version); err != nil {
		return explain(s.path, err)
	}
	if version > Format {
		return fmt.Errorf("%s: %w: format %d, this program reads up to %d", s.path, ledger.ErrNewer, version, Format)
	}
	return nil
}

// Format is the newest data format that this program writes.
const Format = 2

// Close lets go of everything. It is safe to call twice.
func (s *Store) Close() error {
	var errs []error
	s.closed.Do(func() {
		if s.reads != nil {
			errs = append(errs, s.reads.Close())
		}
		s.disconnect()
		if s.writes != nil {
			errs = append(errs, s.writes.Close())
		}
		if s.lock != nil {
			errs = append(errs, s.lock.Close())
		}
	})
	return errors.Join(errs...)
}

// explain turns SQLite's primary result codes into what a person can act on; see
// https://www.sqlite.org/rescode.html.
func explain(path string, err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch e.Code() & 0xff {
	case 26: // SQLITE_NOTADB
		return fmt.Errorf("%s: %w: %w", path, ErrForeign, err)
	case 11: // SQLITE_CORRUPT
		return fmt.Errorf("%s: %w: restore it from a backup; mintmark verify tells what can be trusted: %w", path, ErrCorrupt, err)
	case 8, 14: // SQLITE_READONLY, SQLITE_CANTOPEN
		return fmt.Errorf("%s: %w: check owner and permissions of the data directory: %w", path, ErrReadOnly, err)
	case 13: // SQLITE_FULL
		return fmt.Errorf("%s: %w: free some space: %w", path, ErrFull, err)
	case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED
		return fmt.Errorf("%s: %w: another program holds the database: %w", path, ErrLocked, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// isConstraint reports whether a statement broke uniqueness (SQLITE_CONSTRAINT).
func isConstraint(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code()&0xff == 19
}

// failed marks an error of the store for the ledger's callers.
func failed(op string, err error) error {
	if err == nil || errors.Is(err, ledger.ErrUnavailable) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ledger.ErrUnavailable, strings.ReplaceAll(op, "_", " "), err)
}
