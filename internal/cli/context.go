package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/config"
)

// CredentialFile is the name under which mintmark init leaves the first
// operator's credential in the data directory; commands on the same machine find
// it there.
const CredentialFile = "operator.json"

// target is one control to speak to.
type target struct {
	Server string `json:"server"`
	CA     string `json:"ca,omitempty"`
	// Credential is the path of a credential file.
	Credential string `json:"credential,omitempty"`
	credential *Credential
}

// contexts is the file of named targets.
type contexts struct {
	Current  string            `json:"current"`
	Contexts map[string]target `json:"contexts"`
}

func (a *app) contextsFile() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(a.getenv("HOME"), ".config")
	}
	return filepath.Join(dir, "mintmark", "contexts.json")
}

func (a *app) loadContexts() (contexts, error) {
	c := contexts{Contexts: map[string]target{}}
	b, err := os.ReadFile(a.contextsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, usage("read contexts: "+err.Error(), "mend or remove "+a.contextsFile())
	}
	if c.Contexts == nil {
		c.Contexts = map[string]target{}
	}
	return c, nil
}

func (a *app) saveContexts(c contexts) error {
	name := a.contextsFile()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("save contexts: %w", err)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("save contexts: %w", err)
	}
	return replaceFile(name, append(b, '\n'))
}

// replaceFile writes a file for its owner only; it is the old or the new one,
// never half of it.
func replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// WriteCredential writes a credential to a file for its owner only.
func WriteCredential(name string, c Credential) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode credential: %w", err)
	}
	return replaceFile(name, append(b, '\n'))
}

// ReadCredential reads a credential; a file that others may read is refused.
func ReadCredential(name string) (*Credential, error) {
	text, err := config.Source{File: name}.Read(nil)
	if err != nil {
		return nil, err
	}
	c := new(Credential)
	if err := json.Unmarshal([]byte(text.Reveal()), c); err != nil {
		return nil, fmt.Errorf("%s is not a credential: %w", name, err)
	}
	return c, nil
}

// target decides by --server, --context, their variables, the current context,
// and last the credential that init left on this machine.
func (a *app) target() (target, error) {
	all, err := a.loadContexts()
	if err != nil {
		return target{}, err
	}
	server := first(a.server, a.getenv("MINTMARK_SERVER"))
	named := first(a.context, a.getenv("MINTMARK_CONTEXT"))
	t, known := all.Contexts[first(named, all.Current)]
	if named != "" && !known {
		return target{}, api.NewProblem(api.CodeNotFound, "no context "+quote(named), "see mintmark context list")
	}
	if !known {
		t.Credential = a.localCredential()
	}
	if t.Credential != "" {
		if t.credential, err = ReadCredential(t.Credential); err != nil {
			return target{}, api.NewProblem(api.CodeUnauthorized, err.Error(), "log in again: mintmark login --credential FILE")
		}
		t.Server = first(t.Server, t.credential.Server)
		// A credential is never sent to another server than its own.
		if server != "" && server != t.Server {
			t.credential = nil
		}
	}
	t.Server = first(server, t.Server)
	if t.Server == "" {
		return target{}, usage("which control? No server was named", "give --server, set MINTMARK_SERVER, or run mintmark login")
	}
	return t, nil
}

func (a *app) localCredential() string {
	data := config.Default().Data
	if c, err := config.Load(first(a.config, a.getenv("MINTMARK_CONFIG")), a.Environ); err == nil {
		data = c.Data
	}
	name := filepath.Join(data, CredentialFile)
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

func (a *app) loginCmd() *cobra.Command {
	var credential, ca, name string
	var stdin bool
	cmd := &cobra.Command{
		Use: "login", Short: "Remember a control and a credential as a context", Args: cobra.NoArgs,
		Example: "  mintmark login --credential operator.json --name prod\n  mintmark login --server https://control:8082 --token-stdin < token",
		RunE: func(*cobra.Command, []string) error {
			t := target{Server: first(a.server, a.getenv("MINTMARK_SERVER")), CA: ca, Credential: credential}
			if stdin == (credential != "") {
				return usage("want one of --credential FILE and --token-stdin", "mintmark init writes a credential file")
			}
			if stdin {
				secret, err := a.readSecret()
				if err != nil {
					return err
				}
				t.Credential = filepath.Join(filepath.Dir(a.contextsFile()), name+".credential.json")
				if err := os.MkdirAll(filepath.Dir(t.Credential), 0o700); err != nil {
					return fmt.Errorf("save credential: %w", err)
				}
				if err := WriteCredential(t.Credential, Credential{Server: t.Server, Token: secret.Reveal()}); err != nil {
					return err
				}
			}
			return a.remember(name, t)
		},
	}
	cmd.Flags().StringVar(&credential, "credential", "", "credential file, as written by mintmark init")
	cmd.Flags().BoolVar(&stdin, "token-stdin", false, "read an access token from standard input")
	cmd.Flags().StringVar(&ca, "ca", "", "PEM file of the authority of control's certificate")
	cmd.Flags().StringVar(&name, "name", "default", "name of the context")
	return cmd
}

func (a *app) remember(name string, t target) error {
	if !mintmark.IsName(name) {
		return usage("context name "+quote(name), "want 1 to 63 of A-Z a-z 0-9 . _ -")
	}
	c, err := ReadCredential(t.Credential)
	if err != nil {
		return usage(err.Error(), "")
	}
	if t.Credential, err = filepath.Abs(t.Credential); err != nil {
		return fmt.Errorf("find credential: %w", err)
	}
	if t.Server = first(t.Server, c.Server); t.Server == "" {
		return usage("the credential names no server", "add --server")
	}
	all, err := a.loadContexts()
	if err != nil {
		return err
	}
	all.Contexts[name], all.Current = t, name
	if err := a.saveContexts(all); err != nil {
		return err
	}
	return a.print(result{value: t, notes: []string{"context " + name + " is now " + t.Server}})
}

func (a *app) contextCmd() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List contexts", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		all, err := a.loadContexts()
		if err != nil {
			return err
		}
		t := table{head: []string{"CURRENT", "NAME", "SERVER", "CREDENTIAL"}}
		names := make([]string, 0, len(all.Contexts))
		for n := range all.Contexts {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			mark := ""
			if n == all.Current {
				mark = "*"
			}
			t.rows = append(t.rows, []string{mark, n, all.Contexts[n].Server, all.Contexts[n].Credential})
		}
		return a.print(result{value: all, table: t})
	}}
	use := &cobra.Command{Use: "use NAME", Short: "Make a context the current one", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		all, err := a.loadContexts()
		if err != nil {
			return err
		}
		if _, ok := all.Contexts[args[0]]; !ok {
			return api.NewProblem(api.CodeNotFound, "no context "+quote(args[0]), "see mintmark context list")
		}
		all.Current = args[0]
		return a.saveContexts(all)
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "Forget a context; its credential file stays", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		all, err := a.loadContexts()
		if err != nil {
			return err
		}
		delete(all.Contexts, args[0])
		if all.Current == args[0] {
			all.Current = ""
		}
		return a.saveContexts(all)
	}}
	c := noun("context", "Which control to speak to, and as whom", list, use, remove)
	c.Aliases = []string{"ctx"}
	return c
}

// readSecret reads one secret from standard input.
func (a *app) readSecret() (mintmark.Secret, error) {
	b, err := io.ReadAll(io.LimitReader(a.Stdin, 64<<10))
	if err != nil {
		return mintmark.Secret{}, fmt.Errorf("read standard input: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return mintmark.Secret{}, usage("standard input is empty", "pipe the secret in, for instance: < file")
	}
	return mintmark.NewSecret(text), nil
}
