package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
)

// initialize makes a data directory: its secrets, an empty ledger bound to them,
// and the first operator's credential. Dying anywhere leaves something that the
// next init completes; a directory that is complete is refused.
func initialize(ctx context.Context, o cli.InitOptions) error {
	cfg, err := loadConfig(o.ProcessOptions)
	if err != nil {
		return err
	}
	file := o.Credential
	if file == "" {
		file = filepath.Join(cfg.Data, cli.CredentialFile)
	}
	if _, err := os.Stat(file); err == nil {
		return api.NewProblem(api.CodePrecondition, file+" exists: this data directory was initialised already", "choose another with --data, or move this one away")
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	options, err := keyringOptions(cfg, o.Environ)
	if err != nil {
		return err
	}
	if _, err := keyring.Init(options); err != nil {
		return fmt.Errorf("make the secrets: %w", err)
	}
	quiet := cfg
	quiet.Listen.Bus = config.BusListener{}
	p, err := openPlane(ctx, quiet, o.Environ, newLogger(cfg, o.Stderr))
	if err != nil {
		return err
	}
	defer p.close()
	name := o.Operator
	if name == "" {
		name = "operator"
	}
	secret, stored, err := p.auth.NewClientSecret()
	if err != nil {
		return err
	}
	entry, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	id := mintmark.ClientID(name)
	body, err := operatorClient(id, p.auth.AdminAudience(), entry)
	if err != nil {
		return err
	}
	// An operator whose credential never reached its file (init died here) is
	// replaced: nobody holds its secret.
	stream := ledger.DocClient + "/" + name
	if _, err := p.ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{{Stream: stream, Type: "client.registered", Actor: "system:init", Client: id, Data: body}}}); err != nil {
		return fmt.Errorf("make the first operator: %w", err)
	}
	if err := cli.WriteCredential(file, cli.Credential{
		Server: listenerURL(cfg.Listen.Admin), TokenURL: cfg.Issuer + "/token", ClientID: name, Secret: secret.Reveal(),
		Scope: "admin:viewer admin:operator admin:security admin:admin", Resource: p.auth.AdminAudience(),
	}); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	fmt.Fprintf(o.Stdout, "data directory   %s\nsecrets          %s (back these up apart from the data)\noperator         %s, credential in %s\nnext             mintmark serve\n", cfg.Data, secretsDir(cfg), name, file)
	return nil
}

// listenerURL is where a listener answers.
func listenerURL(l config.Listener) string {
	if l.TLS != nil {
		return "https://" + l.Address
	}
	return "http://" + l.Address
}
