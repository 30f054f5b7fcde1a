package recorder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// EventSetAside is a record that can't be folded: its data is a SetAside, on stream
// "setaside/<gateway>". Nothing is folded from it.
const EventSetAside mintmark.EventType = "usage.set_aside"

// SetAside is a record as it came, and why it could not be folded.
type SetAside struct {
	Gateway mintmark.GatewayID `json:"gateway"` // that sent it, by the bus's word
	Boot    mintmark.BootID    `json:"boot,omitempty"`
	Seq     uint64             `json:"seq,omitempty"` // 0: it has no number that could be read
	Reason  string             `json:"reason"`
	SHA256  string             `json:"sha256"` // of the whole
	Size    int                `json:"size"`   // bytes of the whole
	// Body is the record, or what comes first of it when it is longer than 256 KiB.
	Body []byte `json:"body"`
}

const maxKept = 256 << 10

// CountDocument (document setting/set-aside) counts what was set aside.
const CountDocument = "set-aside"

// Count is the content of CountDocument.
type Count struct {
	Records  uint64                        `json:"records"`
	Gateways map[mintmark.GatewayID]uint64 `json:"gateways"`
	Last     time.Time                     `json:"last"`
}

// Bounds of what is folded: beyond them the store's sums could overflow or its
// indexes swell, so that one bad record would stop all others. They are far from
// whatever a gateway means, whose clock may be wrong and whose foreign tokens are
// whatever their issuer made of them.
const (
	maxText  = 16 << 10
	maxCount = 1 << 40
	maxTime  = 1 << 52 // Unix milliseconds
)

// validate reports why a batch can't be folded.
func validate(b *bus.RecordBatch) error {
	short := func(texts ...string) bool {
		for _, t := range texts {
			if len(t) > maxText {
				return false
			}
		}
		return true
	}
	switch {
	case b.Boot == "" || len(b.Boot) > 64:
		return errors.New("it names no boot")
	case b.Seq == 0 || b.Seq >= 1<<62:
		return errors.New("it has no number")
	}
	for i := range b.Usage {
		u := &b.Usage[i]
		switch {
		case !short(string(u.Token), string(u.Release), string(u.Served), string(u.Client), u.Route, string(u.Code)):
			return fmt.Errorf("usage[%d]: a name is longer than %d bytes", i, maxText)
		case u.N > maxCount:
			return fmt.Errorf("usage[%d]: a count of %d", i, u.N)
		case u.First < 0 || u.First > maxTime || u.Last < 0 || u.Last > maxTime:
			return fmt.Errorf("usage[%d]: from %d to %d", i, u.First, u.Last)
		}
	}
	for i := range b.Foreign {
		t := &b.Foreign[i]
		switch {
		case !short(string(t.ID), t.Issuer, t.Subject, string(t.Client), string(t.Mark.Release), t.Mark.Key):
			return fmt.Errorf("foreign[%d]: a name is longer than %d bytes", i, maxText)
		case t.Mark.Seq >= 1<<62:
			return fmt.Errorf("foreign[%d]: an issuance number of ours", i)
		}
	}
	return nil
}

// setAside keeps a record that can't be folded, with its number used up, so that
// its gateway may forget it and those behind it go on. An error asks for the record
// again: it is not kept yet.
func (r *Recorder) setAside(ctx context.Context, subject string, data []byte, why error) error {
	sum := sha256.Sum256(data)
	s := SetAside{
		Gateway: mintmark.GatewayID(strings.TrimPrefix(subject, bus.SubjectRecords)),
		Reason:  fmt.Sprintf("%.500s", why.Error()), SHA256: hex.EncodeToString(sum[:]), Size: len(data), Body: data[:min(len(data), maxKept)],
	}
	if mintmark.CheckGatewayID(s.Gateway) != nil {
		r.cfg.Log.Error("record from nobody dropped: the bus lets only members send", "subject", subject)
		return nil
	}
	// Whatever else is wrong with it, its number may be readable.
	var number struct {
		Boot mintmark.BootID `json:"boot"`
		Seq  uint64          `json:"seq"`
	}
	if json.Unmarshal(data, &number) == nil && number.Boot != "" && len(number.Boot) <= 64 && number.Seq > 0 && number.Seq < 1<<62 {
		s.Boot, s.Seq = number.Boot, number.Seq
	}
	err := r.keep(ctx, &s)
	switch {
	case errors.Is(err, ledger.ErrUsed): // kept, or folded, before
	case err != nil:
		r.cfg.Log.Warn("a record that can't be folded waits for the ledger", "gateway", s.Gateway, "boot", s.Boot, "seq", s.Seq, "error", err)
		return err
	default:
		r.cfg.Log.Error("record set aside: it can't be folded", "gateway", s.Gateway, "boot", s.Boot, "seq", s.Seq, "sha256", s.SHA256, "reason", s.Reason)
		if r.cfg.SetAside != nil {
			r.cfg.SetAside(&s)
		}
	}
	if s.Seq != 0 {
		r.tell(ctx, &bus.RecordBatch{Gateway: s.Gateway, Boot: s.Boot, Seq: s.Seq})
	}
	return nil
}

// keep writes the record, its number, and the count, together. The number is used
// up by an empty batch, as the record itself would have; one without a number is
// told from its repetition by its hash.
func (r *Recorder) keep(ctx context.Context, s *SetAside) error {
	for range 3 {
		b, err := r.keeping(ctx, s)
		if err != nil {
			return err
		}
		if _, err = r.cfg.Ledger.Append(ctx, b); !errors.Is(err, ledger.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("count a record set aside: %w", ledger.ErrConflict)
}

func (r *Recorder) keeping(ctx context.Context, s *SetAside) (ledger.Batch, error) {
	now := r.cfg.Now()
	actor := "gateway:" + string(s.Gateway)
	count := Count{Gateways: map[mintmark.GatewayID]uint64{}}
	d, err := r.cfg.Store.Document(ctx, ledger.DocSetting, CountDocument)
	if err == nil {
		err = json.Unmarshal(d.Body, &count)
	} else if errors.Is(err, ledger.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return ledger.Batch{}, fmt.Errorf("read how many records were set aside: %w", err)
	}
	count.Records++
	count.Gateways[s.Gateway]++
	count.Last = now.UTC()
	var b ledger.Batch
	if s.Seq != 0 {
		empty := bus.RecordBatch{V: bus.Version, Gateway: s.Gateway, Boot: s.Boot, Seq: s.Seq}
		if err := event(&b, "gateway/"+string(s.Gateway), mintmark.EventUsageRecorded, actor, empty); err != nil {
			return b, err
		}
	} else {
		b.Once = []ledger.Once{{Space: "record", Key: s.SHA256, Expires: now.Add(30 * 24 * time.Hour)}}
	}
	stream := ledger.DocSetting + "/" + CountDocument
	b.Expect = []ledger.Expect{{Stream: stream, Version: d.Version}}
	return b, errors.Join(event(&b, "setaside/"+string(s.Gateway), EventSetAside, actor, s), event(&b, stream, "setting.written", "system:recorder", count))
}

func event(b *ledger.Batch, stream string, typ mintmark.EventType, actor string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write event %s: %w", typ, err)
	}
	b.Events = append(b.Events, mintmark.Event{Stream: stream, Type: typ, Actor: actor, Data: body})
	return nil
}
