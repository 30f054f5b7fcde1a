package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// FileName is the configuration's usual name.
const FileName = "mintmark.yaml"

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads the file at path, applies the environment and validates. An empty
// path means ./mintmark.yaml when that exists, else the defaults; a path given
// must exist. The error is Errors or wraps an fs error.
func Load(path string, environ []string) (Config, error) {
	name := path
	if name == "" {
		name = FileName
	}
	info, err := os.Stat(name)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		return Parse("", nil, environ)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxFile {
		return Config{}, Errors{{File: name, What: "the file is larger than 1 MiB", Fix: "is this the right file?"}}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(name, text, environ)
}

// Parse decodes text over the defaults, applies the environment ("NAME=value"
// lines as of os.Environ) and validates. All mistakes are reported together.
func Parse(file string, text []byte, environ []string) (Config, error) {
	c := Default()
	errs := decode(file, text, &c)
	errs = append(errs, applyEnv(&c, environ)...)
	if len(errs) == 0 {
		errs = c.Validate(file)
	}
	if len(errs) > 0 {
		return Config{}, errs
	}
	return c, nil
}
