package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
)

// errReceipt reports a receipt whose signature does not hold.
var errReceipt = errors.New("the receipt's signature does not hold: it was altered, or another key signed it")

// verifyReceipt checks a receipt's signature over its canonical JSON with an
// empty signature member. It works on the members as they stand, so that one
// written by a newer version verifies too.
func verifyReceipt(text []byte, key func(kid string) (ed25519.PublicKey, error)) error {
	members := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return usage("not a receipt: "+err.Error(), "write one with: mintmark receipt get ID -o json > FILE")
	}
	kid, _ := members["kid"].(string)
	signature, _ := members["signature"].(string)
	if kid == "" || signature == "" {
		return usage("not a signed receipt: it has no kid or no signature", "write one with: mintmark receipt get ID -o json > FILE")
	}
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return errReceipt
	}
	public, err := key(kid)
	if err != nil {
		return err
	}
	members["signature"] = ""
	body, _, err := epoch.Encode(members)
	if err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, append([]byte(mintmark.ReceiptDomain), body...), sig) {
		return errReceipt
	}
	return nil
}

func publicKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, usage("the key is not an Ed25519 public key in base64url", "mintmark status -o json shows it under state_keys")
	}
	return b, nil
}

func (a *app) receiptVerifyCmd() *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use: "verify FILE|-", Short: "Check a receipt's signature; with --key without asking control", Args: cobra.ExactArgs(1),
		Example: "  mintmark receipt get rcp_… -o json | mintmark receipt verify - --key state.pub",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.readInput(args[0], 4<<20)
			if err != nil {
				return err
			}
			key := func(kid string) (ed25519.PublicKey, error) { return a.controlKey(cmd.Context(), kid) }
			if keyFile != "" {
				key = func(string) (ed25519.PublicKey, error) {
					b, err := os.ReadFile(keyFile)
					if err != nil {
						return nil, usage(err.Error(), "")
					}
					return publicKey(string(b))
				}
			}
			if err := verifyReceipt(text, key); err != nil {
				return err
			}
			return a.print(result{value: map[string]bool{"ok": true}, notes: []string{"the signature holds"}})
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the state key's public half, base64url (default: ask control)")
	return cmd
}

// controlKey asks control for the public half of a state key.
func (a *app) controlKey(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout+time.Second)
	defer cancel()
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	text, ok := s.StateKeys[kid]
	if !ok {
		return nil, api.NewProblem(api.CodeNotFound, "control does not know the key "+quote(kid), "give its public half with --key FILE")
	}
	return publicKey(text)
}

// readInput reads a file, or standard input for "-".
func (a *app) readInput(name string, limit int64) ([]byte, error) {
	in := a.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage(err.Error(), "")
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, usage(fmt.Sprintf("%s is larger than %d bytes", name, limit), "")
	}
	return b, nil
}
