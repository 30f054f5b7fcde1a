package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/receipt"
)

var update = flag.Bool("update", false, "rewrite the vectors")

// signer is the vectors' state key: its seed is SHA-256 of a sentence.
func signer(sentence string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(sentence))
	return ed25519.NewKeyFromSeed(seed[:])
}

var stateKey = signer("mintmark receipt test vectors")

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rows are four rows of one log.
func rows(t testing.TB, key ed25519.PrivateKey) []epoch.SignedRow {
	var out []epoch.SignedRow
	prev := epoch.Hash{}
	for seq := uint64(1); seq <= 4; seq++ {
		row := epoch.Row{Seq: seq, Term: 1, Prev: prev, At: 1_790_000_000_000 + int64(seq), Issued: 1<<53 + 1, Actor: "user:ada", KeyID: receipt.KeyID(public(key))}
		// What printers of JSON disagree about.
		row.Reason = "leaked: <a&b> \"\\\" \u2028 é 😀 \x7f \x01\t"
		row.Revocations = []mintmark.Revocation{{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Client: "web"}, Made: 1_790_000_000_000}}
		signed := must[epoch.SignedRow](t)(epoch.SignRow(row, key))
		prev = signed.Hash()
		out = append(out, signed)
	}
	return out
}

func receiptFor(t testing.TB, seq uint64, row epoch.SignedRow, key ed25519.PrivateKey) []byte {
	r := mintmark.Receipt{
		ID: "rcp_2", Kind: "revoke", Term: 1, Seq: seq, Epoch: 7, Actor: "user:ada", Reason: "leaked: <a&b> \u2028 😀", Outcome: mintmark.OutcomeEffective,
		Committed: time.Unix(1_790_000_000, 123_456_789).UTC(), Returned: time.Unix(1_790_000_001, 0).UTC(), Elapsed: 9_007_199_254_740_993,
		Gateways: []mintmark.GatewayReach{{Gateway: "gw-1", Reach: mintmark.ReachApplied, Applied: 1500}}, Tokens: 3,
		RowHash: row.Hash().String(), KeyID: receipt.KeyID(public(key)),
	}
	body, _, err := epoch.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Signature = base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, append([]byte(mintmark.ReceiptDomain), body...)))
	return must[[]byte](t)(json.Marshal(r))
}

func export(t testing.TB, rows []epoch.SignedRow, receipts ...[]byte) string {
	var b bytes.Buffer
	w := receipt.NewWriter(&b, time.Unix(1_790_000_002, 0))
	for _, r := range rows {
		if err := w.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range receipts {
		if err := w.Receipt(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// vector is an export and what has to be said of it.
type vector struct {
	File    string `json:"file"`
	Outcome string `json:"outcome"` // ok, forged, unknown-key, malformed, truncated
	About   string `json:"about"`
	text    string
}

var outcomes = map[string]error{"ok": nil, "forged": receipt.ErrForged, "unknown-key": receipt.ErrKey, "malformed": receipt.ErrFormat, "truncated": receipt.ErrTruncated}

func vectors(t testing.TB) []vector {
	log := rows(t, stateKey)
	rcp := receiptFor(t, 2, log[1], stateKey)
	good := export(t, log, rcp)
	lines := strings.SplitAfter(good, "\n")
	join := func(l ...string) string { return strings.Join(l, "") }
	stranger := signer("somebody else")
	indented := bytes.Buffer{}
	if err := json.Indent(&indented, rcp, "", "  "); err != nil {
		t.Fatal(err)
	}
	// A fork: row 2 signed by the same key, but following nothing.
	fork := must[epoch.SignedRow](t)(epoch.SignRow(epoch.Row{Seq: 2, Term: 1, KeyID: receipt.KeyID(public(stateKey))}, stateKey))
	return []vector{
		{"good.jsonl", "ok", "four rows and a receipt", good},
		{"one.jsonl", "ok", "one receipt with its row, as export ID writes it", export(t, log[1:2], rcp)},
		{"gap.jsonl", "ok", "row 3 is left out", export(t, []epoch.SignedRow{log[0], log[1], log[3]}, rcp)},
		{"bare.json", "ok", "a receipt alone, as receipt get -o json prints it", indented.String()},
		{"tampered-receipt.jsonl", "forged", "another number of tokens", strings.Replace(good, `"tokens":3`, `"tokens":2`, 1)},
		{"added-member.jsonl", "forged", "a member that was not signed", strings.Replace(good, `"tokens":3`, `"tokens":3,"zeal":1`, 1)},
		{"tampered-row.jsonl", "forged", "a byte of a row's body", strings.Replace(good, `"body":"eyJhY3Rvci`, `"body":"eyJhY3Rvcy`, 1)},
		{"forked.jsonl", "forged", "a well signed row 2 of another chain", export(t, []epoch.SignedRow{log[0], fork})},
		{"other-row.jsonl", "forged", "a receipt that names another row than that of its number", export(t, []epoch.SignedRow{fork}, rcp)},
		{"swapped.jsonl", "forged", "rows out of order", join(lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], lines[6])},
		{"stranger.jsonl", "unknown-key", "all signed by a key that is not among the state keys", export(t, rows(t, stranger), receiptFor(t, 2, rows(t, stranger)[1], stranger))},
		{"twice.jsonl", "malformed", "a member given twice", strings.Replace(good, `"tokens":3`, `"tokens":2,"tokens":3`, 1)},
		{"unknown-line.jsonl", "malformed", "a line of a kind that nobody knows", join(lines[0], `{"note":"x"}`+"\n", lines[6])},
		{"no-end.jsonl", "truncated", "the last line is missing", join(lines[:6]...)},
		{"cut.jsonl", "truncated", "ends within a line", good[:len(good)-60]},
		{"dropped.jsonl", "truncated", "the receipt was taken out", join(lines[0], lines[1], lines[2], lines[3], lines[4], lines[6])},
	}
}

func stateKeys() receipt.Keys {
	return receipt.Keys{receipt.KeyID(public(stateKey)): public(stateKey)}
}

// The vectors are what docs/receipts.md promises to others, byte for byte.
func TestVectors(t *testing.T) {
	all := vectors(t)
	files := map[string]string{}
	for _, v := range all {
		files[v.File] = v.text
	}
	keys := map[string]any{"state_keys": map[string]string{receipt.KeyID(public(stateKey)): base64.RawURLEncoding.EncodeToString(public(stateKey))}}
	files["state-keys.json"] = string(must[[]byte](t)(json.MarshalIndent(keys, "", "  "))) + "\n"
	files["vectors.json"] = string(must[[]byte](t)(json.MarshalIndent(all, "", "  "))) + "\n"
	for name, text := range files {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(must[[]byte](t)(os.ReadFile(file))); got != text {
			t.Errorf("%s is not what is written today: the format changed; others can't verify any more", name)
		}
	}
	parsed := must[receipt.Keys](t)(receipt.ParseKeys([]byte(files["state-keys.json"])))
	for _, v := range all {
		r, err := receipt.Check(strings.NewReader(v.text), parsed)
		if err != nil {
			t.Errorf("%s: %v", v.File, err)
			continue
		}
		want, known := outcomes[v.Outcome]
		if !known || !errors.Is(r.Err(), want) || (want == nil) != (r.Err() == nil) {
			t.Errorf("%s: %v, want %s", v.File, r.Err(), v.Outcome)
		}
	}
}

func TestReport(t *testing.T) {
	for _, v := range vectors(t) {
		r, err := receipt.Check(strings.NewReader(v.text), stateKeys())
		if err != nil {
			t.Fatal(err)
		}
		got := *r
		got.Problems, got.Failed = nil, 0
		var want receipt.Report
		switch v.File {
		case "good.jsonl":
			want = receipt.Report{Receipts: 1, Rows: 4, FirstRow: 1, LastRow: 4}
		case "one.jsonl":
			want = receipt.Report{Receipts: 1, Rows: 1, FirstRow: 2, LastRow: 2}
		case "gap.jsonl":
			want = receipt.Report{Receipts: 1, Rows: 3, FirstRow: 1, LastRow: 4, Gaps: 1}
		case "bare.json":
			want = receipt.Report{Receipts: 1, Alone: 1}
		default:
			continue
		}
		if got.Receipts != want.Receipts || got.Rows != want.Rows || got.FirstRow != want.FirstRow || got.LastRow != want.LastRow || got.Gaps != want.Gaps || got.Alone != want.Alone {
			t.Errorf("%s: %+v, want %+v", v.File, got, want)
		}
		if r.Failed != 0 {
			t.Errorf("%s: %v", v.File, r.Problems)
		}
	}
}

// No byte of an export can be changed without it being noticed, but for white
// space and the time that is for people.
func TestEveryByteCounts(t *testing.T) {
	log := rows(t, stateKey)
	good := export(t, log[:2], receiptFor(t, 2, log[1], stateKey))
	from := strings.Index(good, "\n") + 1
	for i := from; i < len(good); i += 7 { // a sample: each check costs signatures
		if good[i] == '\n' {
			continue
		}
		b := []byte(good)
		b[i] ^= 1
		r, err := receipt.Check(bytes.NewReader(b), stateKeys())
		if err != nil {
			t.Fatal(err)
		}
		if r.Err() == nil {
			t.Fatalf("byte %d changed from %q to %q unnoticed", i, good[i], b[i])
		}
	}
	for i := 1; i < len(good)-1; i += 29 { // without its last newline it is whole
		if r, _ := receipt.Check(strings.NewReader(good[:i]), stateKeys()); r.Err() == nil {
			t.Fatalf("cut off after %d of %d bytes unnoticed", i, len(good))
		}
	}
}

func TestKeysAreRefused(t *testing.T) {
	kid, key := receipt.KeyID(public(stateKey)), base64.RawURLEncoding.EncodeToString(public(stateKey))
	for _, text := range []string{
		"", "{}", `{"state_keys":{}}`, `{"state_keys":{"` + kid + `":"AAAA"}}`, `{"state_keys":{"0000000000000000":"` + key + `"}}`,
		`{"state_keys":{"` + kid + `":"` + key + `"}} x`, key[:20], `{"state_keys":{"` + kid + `":7}}`,
	} {
		if _, err := receipt.ParseKeys([]byte(text)); !errors.Is(err, receipt.ErrFormat) && !errors.Is(err, receipt.ErrTruncated) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if k, err := receipt.ParseKeys([]byte(key + "=\n")); err != nil || k[kid] == nil {
		t.Errorf("a bare key: %v", err)
	}
}

func TestTooLongALine(t *testing.T) {
	text := `{"format":"` + receipt.Format + `"}` + "\n" + strings.Repeat(" ", 5<<20)
	r, err := receipt.Check(strings.NewReader(text), stateKeys())
	if err != nil || !errors.Is(r.Err(), receipt.ErrFormat) {
		t.Error(err, r)
	}
}

func FuzzCheck(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.text))
	}
	f.Add([]byte(`{"format":"mintmark-export-v1"}` + "\n" + strings.Repeat("[", 100)))
	good := receiptFor(f, 2, rows(f, stateKey)[1], stateKey)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := receipt.Check(bytes.NewReader(text), stateKeys())
		if err != nil {
			t.Fatal(err) // bytes.Reader does not fail
		}
		if (r.Failed == 0) != (r.Err() == nil) {
			t.Errorf("%d problems, error %v", r.Failed, r.Err())
		}
		// There is one signed receipt in the world.
		if got, err := receipt.Verify(text, stateKeys()); err == nil && !bytes.Contains(good, []byte(got.Signature)) {
			t.Errorf("a receipt from nowhere: %s", text)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"state_keys":{"a":"b"}}`))
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := receipt.ParseKeys(text)
		for kid, key := range keys {
			if err != nil || receipt.KeyID(key) != kid {
				t.Errorf("key %q, error %v", kid, err)
			}
		}
	})
}
