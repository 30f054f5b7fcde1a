package sqlite_test

import (
	"context"
	"testing"

	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/storetest"
)

func open(tb testing.TB, dir string) storetest.Store {
	tb.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }
