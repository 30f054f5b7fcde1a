package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
)

const (
	sendBatch = 32
	sendWait  = 5 * time.Second
	minPause  = 200 * time.Millisecond
	maxPause  = 5 * time.Second
)

// send brings stored batches to the queue, oldest first, those of earlier boots
// too, and again when the recorder does not answer: the queue may have lost them.
func (s *Spool) send(ctx context.Context) {
	var sent int64
	s.heard()
	pause := minPause
	for ctx.Err() == nil {
		if s.silent() {
			sent = 0
			s.heard()
		}
		batches, err := s.cfg.Store.Pending(ctx, sent, sendBatch)
		for _, b := range batches {
			if err = s.publish(ctx, b); err != nil {
				break
			}
			sent = b.ID
		}
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.cfg.Log.Warn("records not sent; kept on disk", "error", err)
			}
			sleep(ctx, nil, pause)
			pause = min(2*pause, maxPause)
		case len(batches) == 0:
			pause = minPause
			sleep(ctx, s.wake, s.cfg.Resend/4)
		default:
			pause = minPause
		}
	}
}

func (s *Spool) publish(ctx context.Context, b bus.Spooled) error {
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	// A resend must reach the recorder although the queue remembers the id, so the
	// id holds for this sending only.
	id := fmt.Sprintf("%s/%d/%d", b.Boot, b.Seq, s.cfg.Now().UnixNano())
	return s.cfg.Records.PublishRecord(ctx, bus.SubjectRecords+string(s.cfg.Gateway), id, b.Body)
}

// recorded deletes what the ledger has.
func (s *Spool) recorded(ctx context.Context, _ string, data []byte) []byte {
	var r bus.Recorded
	if bus.Decode(data, &r) != nil || r.Boot == "" {
		return nil
	}
	size, err := s.cfg.Store.Delete(ctx, r.Boot, r.Seq, r.Also)
	if err != nil {
		s.cfg.Log.Warn("recorded batches not deleted", "error", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size, s.told = size, s.cfg.Now()
	return nil
}

func (s *Spool) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = s.cfg.Now()
}

// silent reports whether something is stored and the recorder has said nothing
// for too long.
func (s *Spool) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > 0 && s.cfg.Now().Sub(s.told) >= s.cfg.Resend
}

// sleep waits for a time, for wake, or for ctx.
func sleep(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
