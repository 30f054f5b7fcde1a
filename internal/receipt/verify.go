package receipt

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// MaxReceipt is the largest text of one receipt, in bytes.
const MaxReceipt = epoch.MaxPart

// What can be wrong with what is verified.
var (
	// ErrForged: the signature does not hold, or what is signed contradicts itself.
	ErrForged = errors.New("does not verify")
	// ErrKey: signed by a key that was not given.
	ErrKey = errors.New("unknown state key")
	// ErrFormat: not a receipt, an export or a file of keys at all.
	ErrFormat = errors.New("malformed")
	// ErrTruncated: the text ends before it is complete.
	ErrTruncated = errors.New("cut off")
)

// Verify checks one receipt's signature, as mintmark.Receipt.Signature says. It
// works on the members as they stand, so that one written by a newer version
// verifies too. Errors are ErrForged, ErrKey, ErrFormat, ErrTruncated.
func Verify(text []byte, keys Keys) (*mintmark.Receipt, error) {
	if len(text) > MaxReceipt {
		return nil, fmt.Errorf("receipt: %w: %d bytes, at most %d", ErrFormat, len(text), MaxReceipt)
	}
	members, err := object(text)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return verify(members, keys)
}

func verify(members map[string]any, keys Keys) (*mintmark.Receipt, error) {
	kid, _ := members["kid"].(string)
	signature, _ := members["signature"].(string)
	if kid == "" || signature == "" {
		return nil, fmt.Errorf("receipt: %w: no kid or no signature: not a receipt, or one that was not signed yet", ErrFormat)
	}
	pub, err := keys.find(kid)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w: its signature is not base64url", ErrForged)
	}
	members["signature"] = ""
	body, _, err := epoch.Encode(members)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w: %w", ErrFormat, err)
	}
	if !ed25519.Verify(pub, append([]byte(mintmark.ReceiptDomain), body...), sig) {
		return nil, fmt.Errorf("receipt: %w: it was altered, or another key signed it", ErrForged)
	}
	var r mintmark.Receipt
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("receipt: %w: %w", ErrFormat, err)
	}
	r.Signature = signature
	return &r, nil
}

// VerifyRow checks one state-log row's signature. Errors are as of Verify.
func VerifyRow(row epoch.SignedRow, keys Keys) (epoch.Row, error) {
	if len(row.Body) > epoch.MaxRow {
		return epoch.Row{}, fmt.Errorf("row: %w: %d bytes, at most %d", ErrFormat, len(row.Body), epoch.MaxRow)
	}
	members, err := object(row.Body)
	if err != nil {
		return epoch.Row{}, fmt.Errorf("row: %w", err)
	}
	kid, _ := members["kid"].(string)
	if _, err := keys.find(kid); err != nil {
		return epoch.Row{}, fmt.Errorf("row: %w", err)
	}
	r, err := epoch.VerifyRow(row, func(kid string) ed25519.PublicKey { return keys[kid] })
	if err != nil {
		return epoch.Row{}, fmt.Errorf("row: %w: %w", ErrForged, err)
	}
	return r, nil
}
