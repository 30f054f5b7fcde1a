package epoch

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// rowDomain separates a row's signature and hash from everything else that the
// state key may sign.
const rowDomain = "mintmark-row-v1\n"

// MaxRow is the largest body of a row, in bytes.
const MaxRow = 2 << 20

// Errors of rows.
var (
	ErrRow       = errors.New("malformed state-log row")
	ErrRowForged = errors.New("state-log row: signature does not verify")
	ErrRowGap    = errors.New("state-log row: not the next one")
	ErrRowChain  = errors.New("state-log row: not of this chain")
)

// SignRow encodes and signs a row with control's state key, an Ed25519 signer.
func SignRow(row Row, key crypto.Signer) (SignedRow, error) {
	if _, ok := key.Public().(ed25519.PublicKey); !ok {
		return SignedRow{}, fmt.Errorf("sign row: the state key is a %T, want Ed25519", key.Public())
	}
	body, _, err := Encode(row)
	if err != nil {
		return SignedRow{}, fmt.Errorf("sign row: %w", err)
	}
	if len(body) > MaxRow {
		return SignedRow{}, fmt.Errorf("sign row: %w: %d bytes, at most %d", ErrRow, len(body), MaxRow)
	}
	sig, err := key.Sign(nil, append([]byte(rowDomain), body...), crypto.Hash(0)) // Ed25519 takes no randomness
	if err != nil {
		return SignedRow{}, fmt.Errorf("sign row: %w", err)
	}
	return SignedRow{Body: body, Signature: sig}, nil
}

// Hash returns the row's hash, which the next row names as Prev.
func (s SignedRow) Hash() Hash {
	h := sha256.New()
	h.Write([]byte(rowDomain))
	h.Write(s.Body)
	return Hash(h.Sum(nil))
}

// VerifyRow checks the signature and decodes the row. key returns the state key
// of a kid, or nil. Members that this version does not know are ignored: what a
// gateway must understand is said by the parts that a commit names.
func VerifyRow(s SignedRow, key func(kid string) ed25519.PublicKey) (Row, error) {
	if len(s.Body) > MaxRow || len(s.Signature) != ed25519.SignatureSize {
		return Row{}, ErrRow
	}
	// The kid is read before anything is verified, to choose among our own keys.
	var named struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(s.Body, &named); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrRow, err)
	}
	pub := key(named.KeyID)
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, append([]byte(rowDomain), s.Body...), s.Signature) {
		return Row{}, ErrRowForged
	}
	var row Row
	if err := json.Unmarshal(s.Body, &row); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrRow, err)
	}
	if row.Seq == 0 || row.Term == 0 || row.KeyID != named.KeyID {
		return Row{}, fmt.Errorf("%w: no number or term", ErrRow)
	}
	return row, nil
}

// Follows reports whether row comes next after the row with the given number,
// term and hash: no gap, same chain, term not lower. Before the first row all
// three are zero.
func Follows(row *Row, seq, term uint64, hash Hash) error {
	switch {
	case row.Seq != seq+1:
		return fmt.Errorf("%w: %d after %d", ErrRowGap, row.Seq, seq)
	case row.Prev != hash:
		return fmt.Errorf("%w: row %d names %s before it, not %s", ErrRowChain, row.Seq, row.Prev, hash)
	case row.Term < term:
		return fmt.Errorf("%w: row %d of term %d after term %d", ErrRowChain, row.Seq, row.Term, term)
	}
	return nil
}
