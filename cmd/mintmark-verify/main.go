// The command mintmark-verify checks receipts and state-log rows that control
// exported, offline: it opens no connection and no database, and needs control's
// public state keys only. It is a program of its own so that an auditor can read
// and build it without the rest; docs/receipts.md says what it proves.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/mintmark/mintmark/internal/receipt"
)

// Exit codes; docs/receipts.md has them.
const (
	exitOK        = 0
	exitForged    = 1 // something does not verify
	exitUsage     = 2 // flags, or a file that can't be read
	exitMalformed = 3 // not an export or a receipt, or cut off
	exitKey       = 4 // signed by a key that was not given
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const help = `mintmark-verify checks receipts and state-log rows of Mintmark, offline.

  mintmark-verify --keys state-keys.json EXPORT|-

EXPORT is what "mintmark receipt export" wrote, or one receipt as JSON; - is
standard input. The keys are those of "mintmark receipt keys", or one public key
in base64url: have them from control or from somebody you trust, never from
whoever gave you the export.

Exit: 0 everything verifies, 1 something does not, 2 usage or unreadable file,
3 malformed or cut off, 4 signed by a key that was not given.

`

func run(args []string, in io.Reader, out, diag io.Writer) int {
	flags := flag.NewFlagSet("mintmark-verify", flag.ContinueOnError)
	flags.SetOutput(diag)
	flags.Usage = func() {
		fmt.Fprint(diag, help)
		flags.PrintDefaults()
	}
	keyFile := flags.String("keys", "", "`file` with control's public state keys")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() != 1 || *keyFile == "" {
		fmt.Fprintln(diag, "mintmark-verify: want --keys FILE and one file to check, or - (see --help)")
		return exitUsage
	}
	report, err := check(*keyFile, flags.Arg(0), in)
	if err != nil {
		fmt.Fprintf(diag, "mintmark-verify: %v\n", err)
		return exitUsage
	}
	if err := tell(out, diag, report, *asJSON); err != nil {
		fmt.Fprintf(diag, "mintmark-verify: write the report: %v\n", err)
		return exitUsage
	}
	return code(report.Err())
}

// maxKeyFile is far above a file of a thousand keys.
const maxKeyFile = 1 << 20

func check(keyFile, file string, in io.Reader) (*receipt.Report, error) {
	f, err := os.Open(keyFile)
	if err != nil {
		return nil, fmt.Errorf("open the keys: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	keys, err := receipt.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("open the export: %w", err)
		}
		defer f.Close()
		in = f
	}
	report, err := receipt.Check(in, keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return report, nil
}

func tell(out, diag io.Writer, r *receipt.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(diag, "line %d: %s\n", p.Line, p.What)
	}
	for _, s := range r.Sentences() {
		if _, err := fmt.Fprintln(out, s); err != nil {
			return err
		}
	}
	return nil
}

func code(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, receipt.ErrForged):
		return exitForged
	case errors.Is(err, receipt.ErrKey):
		return exitKey
	}
	return exitMalformed
}
