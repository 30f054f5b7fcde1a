package receipt

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/internal/epoch"
)

// maxLine bounds one line of an export: a row's largest body in base64, or the
// largest receipt, with what stands around it.
const maxLine = MaxReceipt + 64<<10

// maxProblems is how many problems a report keeps; the rest are counted.
const maxProblems = 100

// Report is what a check found.
type Report struct {
	// Receipts and Rows count those that verified.
	Receipts int `json:"receipts"`
	Rows     int `json:"rows"`
	// FirstRow and LastRow are numbers of rows; 0 without rows. Gaps counts the
	// places between them where rows are left out: there the chain proves nothing.
	FirstRow uint64 `json:"first_row,omitempty"`
	LastRow  uint64 `json:"last_row,omitempty"`
	Gaps     int    `json:"gaps,omitempty"`
	// Alone counts receipts whose row is not in the export: their signature holds,
	// and the row's hash that they name was compared with nothing.
	Alone int `json:"alone,omitempty"`
	// Problems are the first hundred; Failed counts all.
	Problems []Problem `json:"problems,omitempty"`
	Failed   int       `json:"failed"`
}

// Problem is something that did not verify.
type Problem struct {
	Line int    `json:"line"` // from 1
	What string `json:"what"`
	// Err is ErrForged, ErrKey, ErrFormat or ErrTruncated, wrapped.
	Err error `json:"-"`
}

// Err is nil when everything verified, else the gravest problem: ErrForged before
// ErrKey before ErrFormat before ErrTruncated.
func (r *Report) Err() error {
	for _, grave := range []error{ErrForged, ErrKey, ErrFormat, ErrTruncated} {
		for _, p := range r.Problems {
			if errors.Is(p.Err, grave) {
				return fmt.Errorf("line %d: %w", p.Line, p.Err)
			}
		}
	}
	return nil
}

func (r *Report) fail(n int, err error) {
	r.Failed++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{Line: n, What: err.Error(), Err: err})
	}
}

// check is a check under way.
type check struct {
	keys   Keys
	report Report
	seen   map[uint64]rowSeen // by number
	last   rowSeen            // zero before the first
	count  end
	lines  int // read so far
	ended  bool
}

type rowSeen struct {
	seq, term uint64
	hash      epoch.Hash
}

// Check reads an export, or one bare receipt, to its end and checks everything in
// it. The error is that of r alone: what is wrong with the text is in the report.
// Memory is bounded by the longest line and some 60 bytes a row.
func Check(r io.Reader, keys Keys) (*Report, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	c := &check{keys: keys, seen: map[uint64]rowSeen{}}
	first, err := readLine(b)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.refused(1, err)
	}
	var head struct {
		Format string `json:"format"`
	}
	if json.Unmarshal(first, &head) != nil || head.Format == "" {
		return c.bare(first, b)
	}
	if head.Format != Format {
		c.report.fail(1, fmt.Errorf("export: %w: format %.80q, and this version knows %s", ErrFormat, head.Format, Format))
		return &c.report, nil
	}
	c.lines = 1
	for n := 2; err == nil; n++ {
		var text []byte
		if text, err = readLine(b); err != nil && !errors.Is(err, io.EOF) {
			return c.refused(n, err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			c.lines = n
			c.line(n, text)
		}
	}
	if !c.ended {
		c.report.fail(c.lines, fmt.Errorf("export: %w: it has no last line that counts the others", ErrTruncated))
	}
	return &c.report, nil
}

// bare checks text that is one receipt, on however many lines.
func (c *check) bare(first []byte, rest io.Reader) (*Report, error) {
	more, err := io.ReadAll(io.LimitReader(rest, MaxReceipt))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if _, err := Verify(append(first, more...), c.keys); err != nil {
		c.report.fail(1, err)
		return &c.report, nil
	}
	c.report.Receipts, c.report.Alone = 1, 1
	return &c.report, nil
}

// refused ends a check whose reading failed: too long a line is the text's fault.
func (c *check) refused(n int, err error) (*Report, error) {
	if errors.Is(err, ErrFormat) {
		c.report.fail(n, err)
		return &c.report, nil
	}
	return nil, fmt.Errorf("read: %w", err)
}

func (c *check) line(n int, text []byte) {
	members, err := object(text)
	switch {
	case err != nil:
		c.report.fail(n, fmt.Errorf("export: %w", err))
	case c.ended:
		c.report.fail(n, fmt.Errorf("export: %w: text after the last line", ErrFormat))
	case len(members) != 1:
		c.report.fail(n, fmt.Errorf("export: %w: want one of row, receipt and end on a line", ErrFormat))
	case members["row"] != nil:
		c.count.Rows++
		err = c.row(members["row"])
	case members["receipt"] != nil:
		c.count.Receipts++
		err = c.receipt(members["receipt"])
	case members["end"] != nil:
		c.ended = true
		err = c.end(members["end"])
	default:
		err = fmt.Errorf("export: %w: want one of row, receipt and end on a line", ErrFormat)
	}
	if err != nil && members != nil {
		c.report.fail(n, err)
	}
}

func (c *check) row(v any) error {
	m, _ := v.(map[string]any)
	body, errBody := bytesOf(m["body"])
	sig, errSig := bytesOf(m["sig"])
	if errBody != nil || errSig != nil || len(m) != 2 {
		return fmt.Errorf("row: %w: want body and sig in base64", ErrFormat)
	}
	signed := epoch.SignedRow{Body: body, Signature: sig}
	row, err := VerifyRow(signed, c.keys)
	if err != nil {
		return err
	}
	now := rowSeen{row.Seq, row.Term, signed.Hash()}
	before := c.last
	switch {
	case before.seq != 0 && row.Seq <= before.seq:
		return fmt.Errorf("row %d: %w: it stands after row %d", row.Seq, ErrForged, before.seq)
	case row.Seq == before.seq+1:
		if err := epoch.Follows(&row, before.seq, before.term, before.hash); err != nil {
			return fmt.Errorf("row %d: %w: %w", row.Seq, ErrForged, err)
		}
	case before.seq == 0:
		c.report.FirstRow = row.Seq // the chain is checked from here on
	case row.Term < before.term:
		return fmt.Errorf("row %d: %w: of term %d, after term %d", row.Seq, ErrForged, row.Term, before.term)
	default:
		c.report.Gaps++
	}
	if c.report.FirstRow == 0 {
		c.report.FirstRow = row.Seq
	}
	c.last, c.seen[row.Seq] = now, now
	c.report.LastRow = row.Seq
	c.report.Rows++
	return nil
}

func (c *check) receipt(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("receipt: %w: not a JSON object", ErrFormat)
	}
	r, err := verify(m, c.keys)
	if err != nil {
		return err
	}
	row, known := c.seen[r.Seq]
	switch {
	case !known:
		c.report.Alone++
	case r.RowHash != row.hash.String() || r.Term != row.term:
		return fmt.Errorf("receipt %s: %w: row %d is not the one that it names", r.ID, ErrForged, r.Seq)
	}
	c.report.Receipts++
	return nil
}

func (c *check) end(v any) error {
	b, err := json.Marshal(v)
	var e end
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return fmt.Errorf("export: %w: its last line does not count rows and receipts", ErrFormat)
	}
	if e != c.count {
		return fmt.Errorf("export: %w: it has %d rows and %d receipts, its last line counts %d and %d", ErrTruncated, c.count.Rows, c.count.Receipts, e.Rows, e.Receipts)
	}
	return nil
}

func bytesOf(v any) ([]byte, error) {
	s, ok := v.(string)
	if !ok {
		return nil, ErrFormat
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// readLine returns the next line, without its end; io.EOF comes with the last.
func readLine(b *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := b.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > maxLine {
			return nil, fmt.Errorf("export: %w: a line is longer than %d bytes", ErrFormat, maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}
