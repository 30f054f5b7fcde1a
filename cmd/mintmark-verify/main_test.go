package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	dir := filepath.Join("..", "..", "internal", "receipt", "testdata")
	keys := filepath.Join(dir, "state-keys.json")
	text, err := os.ReadFile(filepath.Join(dir, "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ File, Outcome string }
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) < 10 {
		t.Fatal(len(vectors), err)
	}
	codes := map[string]int{"ok": exitOK, "forged": exitForged, "unknown-key": exitKey, "malformed": exitMalformed, "truncated": exitMalformed}
	for _, v := range vectors {
		var out, diag bytes.Buffer
		want, known := codes[v.Outcome]
		if got := run([]string{"--keys", keys, filepath.Join(dir, v.File)}, nil, &out, &diag); !known || got != want {
			t.Errorf("%s: exit %d, want %d\n%s%s", v.File, got, want, out.String(), diag.String())
		}
		if (want == exitOK) != (diag.Len() == 0) {
			t.Errorf("%s: said %q", v.File, diag.String())
		}
	}
	for _, args := range [][]string{
		{},
		{"--keys", keys},
		{"--nonsense"},
		{"--keys", "nowhere.json", "-"},
		{"--keys", keys, "nowhere.jsonl"},
		{"--keys", filepath.Join(dir, "vectors.json"), "-"},
		{"--keys", keys, "a", "b"},
	} {
		var out, diag bytes.Buffer
		if got := run(args, strings.NewReader(""), &out, &diag); got != exitUsage || diag.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, got, diag.String())
		}
	}
	var out, diag bytes.Buffer
	good, err := os.ReadFile(filepath.Join(dir, "good.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"--json", "--keys", keys, "-"}, bytes.NewReader(good), &out, &diag); got != exitOK || !strings.Contains(out.String(), `"rows": 4`) {
		t.Errorf("exit %d: %s%s", got, out.String(), diag.String())
	}
}
