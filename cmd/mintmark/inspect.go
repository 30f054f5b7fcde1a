package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// inspect looks at what a process on this machine would start with, and changes
// nothing: the data directory, the secrets and whether they belong to it, the
// ledger's format, and whether the addresses are free. nil when there is no data
// directory here.
func inspect(ctx context.Context, o cli.ProcessOptions) []cli.Finding {
	cfg, err := loadConfig(o)
	if err != nil {
		return nil // the caller has said so
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, sqlite.File)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	running, err := locked(filepath.Join(cfg.Data, "lock"))
	state := "no process is running on it"
	if running {
		state = "a process is running on it"
	}
	found := []cli.Finding{{Name: "data directory", Detail: cfg.Data + ": " + state, Err: err}}
	found = append(found, inspectLedger(ctx, cfg, o)...)
	if running {
		return found
	}
	for _, l := range []struct {
		name string
		at   config.Listener
	}{
		{"gateway", cfg.Listen.Gateway},
		{"decide", cfg.Listen.Decide},
		{"authority", cfg.Listen.Authority},
		{"admin", cfg.Listen.Admin},
		{"metrics", cfg.Listen.Metrics},
		{"bus", config.Listener{Address: cfg.Listen.Bus.Address}},
	} {
		if l.at.Off() {
			continue
		}
		socket, err := new(net.ListenConfig).Listen(ctx, "tcp", l.at.Address)
		if err == nil {
			err = socket.Close()
		}
		found = append(found, cli.Finding{Name: "listen." + l.name, Detail: l.at.Address + " is free", Err: err})
	}
	return found
}

func inspectLedger(ctx context.Context, cfg config.Config, o cli.ProcessOptions) []cli.Finding {
	keys, err := openKeyring(cfg, o.Environ)
	found := []cli.Finding{{Name: "secrets", Detail: "present, and readable by their owner only", Err: err}}
	store, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, ReadOnly: true})
	if err != nil {
		return append(found, cli.Finding{Name: "ledger file", Err: err})
	}
	defer store.Close()
	head, err := store.Head(ctx)
	found = append(found, cli.Finding{Name: "ledger file", Detail: fmt.Sprintf("%d events, format %d", head.Seq, sqlite.Format), Err: err})
	if err == nil && keys != nil {
		found = append(found, cli.Finding{Name: "secrets belong to the ledger", Detail: "yes", Err: checkKeyring(ctx, store, keys)})
	}
	return found
}

// locked reports whether a process holds the data directory's lock.
func locked(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock file: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
