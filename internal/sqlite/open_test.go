package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/storetest"
)

// made returns a directory with a small store in it.
func made(t *testing.T) string {
	dir := t.TempDir()
	b := storetest.Start(t, open(t, dir))
	_, e := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	b.Stop()
	return dir
}

func raw(t *testing.T, dir, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

// TestOpenErrors: each thing that can be wrong with a data directory gets one
// error that names it, and the directory stays as it was.
func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  error
		says  string
	}{
		"not a database": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, sqlite.File), []byte("hello, I am a text file"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, sqlite.ErrForeign, "backup"},
		"another program's": {func(t *testing.T, dir string) { raw(t, dir, "PRAGMA application_id = 7") }, sqlite.ErrForeign, "another program"},
		"newer format": {func(t *testing.T, dir string) {
			raw(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9, 1)")
		}, ledger.ErrNewer, "format 9"},
		"damaged": {func(t *testing.T, dir string) {
			raw(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
			f, err := os.OpenFile(filepath.Join(dir, sqlite.File), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 3000), 100); err != nil {
				t.Fatal(err)
			}
		}, sqlite.ErrCorrupt, "backup"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := made(t)
			c.spoil(t, dir)
			before, err := os.ReadFile(filepath.Join(dir, sqlite.File))
			if err != nil {
				t.Fatal(err)
			}
			s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v", err)
			}
			if s != nil {
				s.Close()
			}
			after, err := os.ReadFile(filepath.Join(dir, sqlite.File))
			if err != nil || string(before) != string(after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir}); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	r, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Errorf("reading beside: %v", err)
	} else {
		r.Close()
	}
	s.Close()
	open(t, dir).Close()
}

// TestReadOnlyMissing: reading never makes a store.
func TestReadOnlyMissing(t *testing.T) {
	dir := t.TempDir()
	if _, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir, ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("made %v", entries)
	}
}

// TestFormatStandsInTheFile: what this program writes says so, also in a directory of
// the format before, so that an earlier program refuses it instead of passing over
// what it does not know.
func TestFormatStandsInTheFile(t *testing.T) {
	dir := made(t)
	raw(t, dir, "DELETE FROM goose_db_version WHERE version_id > 1")
	b := storetest.Start(t, open(t, dir))
	b.Stop()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var format int64
	if err := db.QueryRow("SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&format); err != nil {
		t.Fatal(err)
	}
	if format != sqlite.Format || format < 2 {
		t.Errorf("the file says format %d, the program %d", format, sqlite.Format)
	}
}
