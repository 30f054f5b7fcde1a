package receipt

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
)

// Format names the export's format; it is the first line's member "format".
const Format = "mintmark-export-v1"

// line is one line of an export; exactly one member is set. Members are added,
// never renamed; a reader refuses a line that it does not know.
type line struct {
	Format  string           `json:"format,omitempty"`
	Made    string           `json:"made,omitempty"` // RFC 3339, with Format; for people
	Row     *epoch.SignedRow `json:"row,omitempty"`
	Receipt json.RawMessage  `json:"receipt,omitempty"`
	End     *end             `json:"end,omitempty"`
}

// end is the last line: how many lines of each kind came before.
type end struct {
	Rows     int `json:"rows"`
	Receipts int `json:"receipts"`
}

// Writer writes an export. Rows come in ascending order, each before the receipts
// that name it. Owned by one goroutine.
type Writer struct {
	w     io.Writer
	begun bool
	made  time.Time
	count end
}

// NewWriter begins an export made at a time, which is for people.
func NewWriter(w io.Writer, made time.Time) *Writer { return &Writer{w: w, made: made} }

// Row adds a state-log row as it was signed.
func (w *Writer) Row(row epoch.SignedRow) error {
	w.count.Rows++
	return w.write(line{Row: &row})
}

// Receipt adds a receipt's text, in its canonical form: who checks it without a
// JSON library needs only to empty the signature.
func (w *Writer) Receipt(text []byte) error {
	body, _, err := epoch.Encode(json.RawMessage(text))
	if err != nil {
		return fmt.Errorf("export receipt: %w", err)
	}
	w.count.Receipts++
	return w.write(line{Receipt: body})
}

// Close writes the last line, without which the export counts as cut off. It does
// not close the writer below.
func (w *Writer) Close() error { return w.write(line{End: &w.count}) }

func (w *Writer) write(l line) error {
	if !w.begun {
		w.begun = true
		if err := w.write(line{Format: Format, Made: w.made.UTC().Format(time.RFC3339)}); err != nil {
			return err
		}
	}
	body, _, err := epoch.Encode(l)
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	if _, err := w.w.Write(append(body, '\n')); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}
