package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/sqlite"
)

func auditVerifier(k *keyring.Keyring) (*auditlog.Verifier, error) {
	pub, ok := k.AuditKey().Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the audit log's key is not Ed25519")
	}
	return auditlog.NewVerifier(auditOrigin(k), pub)
}

// verify re-proves a data directory at rest.
func verify(ctx context.Context, o cli.VerifyOptions) (*api.Verification, error) {
	cfg, err := loadConfig(o.ProcessOptions)
	if err != nil {
		return nil, err
	}
	keys, err := openKeyring(cfg, o.Environ)
	if err != nil {
		return nil, err
	}
	// Opened for writing, although nothing is: the lock makes sure that no process
	// appends meanwhile, and the log of the last crash is folded in first.
	store, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := checkKeyring(ctx, store, keys); err != nil {
		return nil, err
	}
	checkpoints, err := auditVerifier(keys)
	if err != nil {
		return nil, err
	}
	state, ok := keys.StateKey().Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the state key is not Ed25519")
	}
	stateKey := func(kid string) ed25519.PublicKey {
		if kid == keyring.KeyID(state) {
			return state
		}
		return nil
	}
	report, err := ledger.Verify(ctx, store, ledger.Checks{
		Fold: projection.Fold, Checkpoint: checkpoints.Open, Now: time.Now(),
		Row: func(r epoch.SignedRow) (epoch.Row, error) { return epoch.VerifyRow(r, stateKey) },
	})
	if err != nil {
		return nil, err
	}
	v := &api.Verification{OK: report.OK(), Checks: []api.Check{{
		Name: "ledger", OK: report.OK(),
		Detail: fmt.Sprintf("%d events, %d rows of the state log, %d tokens %v; root %s", report.Events, report.Rows, report.Tokens, report.States, report.Root),
	}}}
	for _, p := range report.Problems {
		v.Checks = append(v.Checks, api.Check{Name: "problem", Detail: p})
	}
	return v, nil
}
