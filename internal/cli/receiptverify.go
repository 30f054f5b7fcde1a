package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/receipt"
)

// verified checks an export or one receipt; what does not hold is the error.
func verified(in io.Reader, keys receipt.Keys) (result, error) {
	report, err := receipt.Check(in, keys)
	if err != nil {
		return result{}, usage(err.Error(), "")
	}
	switch err := report.Err(); {
	case err == nil:
		return result{value: report, notes: report.Sentences()}, nil
	case errors.Is(err, receipt.ErrKey):
		return result{}, api.NewProblem(api.CodeNotFound, err.Error(), "give control's public keys with --key FILE; control writes them with: mintmark receipt keys")
	case errors.Is(err, receipt.ErrForged):
		return result{}, err
	default:
		return result{}, usage(err.Error(), "write one with: mintmark receipt export ID > FILE")
	}
}

func (a *app) receiptVerifyCmd() *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use: "verify FILE|-", Short: "Check an export or one receipt; with --key without asking control", Args: cobra.ExactArgs(1),
		Long: `Check every signature of an export, that its rows are one chain, and that each
receipt names the row that made it; or the signature of one receipt as JSON.
The small command mintmark-verify does the same without anything else in it.`,
		Example: "  mintmark receipt get rcp_… -o json | mintmark receipt verify - --key state-keys.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := a.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usage(err.Error(), "")
				}
				defer f.Close()
				in = f
			}
			keys, err := a.verifyingKeys(cmd.Context(), keyFile)
			if err != nil {
				return err
			}
			r, err := verified(in, keys)
			if err != nil {
				return err
			}
			return a.print(r)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "file with control's public state keys, or one key in base64url (default: ask control)")
	return cmd
}

// verifyingKeys reads public keys from a file, or asks control for them.
func (a *app) verifyingKeys(ctx context.Context, file string) (receipt.Keys, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usage(err.Error(), "")
		}
		keys, err := receipt.ParseKeys(b)
		if err != nil {
			return nil, usage(file+": "+err.Error(), "write them with: mintmark receipt keys > FILE")
		}
		return keys, nil
	}
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
	keys := receipt.Keys{}
	for kid, text := range s.StateKeys {
		if keys[kid], err = receipt.ParseKey(text); err != nil {
			return nil, api.NewProblem(api.CodeUnintelligble, "control's key "+quote(kid)+": "+err.Error(), "")
		}
	}
	return keys, nil
}

func (a *app) receiptKeysCmd() *cobra.Command {
	return a.call(call{
		use: "keys", short: "Print control's public state keys, for those who verify", args: cobra.NoArgs,
		example: "  mintmark receipt keys > state-keys.json",
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			s, err := c.Status(ctx)
			if err != nil {
				return result{}, err
			}
			v := map[string]map[string]string{"state_keys": s.StateKeys}
			return result{value: v, notes: []string{jsonText(v)}}, nil
		},
	})
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
	b, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, usage(fmt.Sprintf("%s is larger than %d bytes", name, limit), "")
	}
	return b, nil
}
