package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mintmark/mintmark/internal/bus"
)

const (
	recordStream   = "MM_RECORDS"
	recordConsumer = "recorder"
	// ackWait is how long the recorder may take for one record before the queue
	// thinks it dead; a slow one says that it is still at work.
	ackWait    = 30 * time.Second
	retryPause = 200 * time.Millisecond
)

// PublishRecord implements bus.Records.
func (c *Conn) PublishRecord(ctx context.Context, subject, id string, data []byte) error {
	if _, err := c.js.Publish(ctx, subject, data, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0)); err != nil {
		return sendError(subject, err)
	}
	return nil
}

// ConsumeRecords implements bus.Records. Only a connection from Server.Control
// may consume. It makes the queue when there is none: after its folder was lost
// gateways send again what the recorder never acknowledged.
func (c *Conn) ConsumeRecords(ctx context.Context, handle func(context.Context, string, []byte) error) error {
	for ctx.Err() == nil {
		err := c.consume(ctx, handle)
		if errors.Is(err, bus.ErrClosed) {
			return err
		}
		pause(ctx, retryPause)
	}
	return ctx.Err()
}

// consume takes records until something fails.
func (c *Conn) consume(ctx context.Context, handle func(context.Context, string, []byte) error) error {
	if c.nc.IsClosed() {
		return bus.ErrClosed
	}
	if err := c.ensureStream(ctx); err != nil {
		return err
	}
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, recordStream, jetstream.ConsumerConfig{
		Durable: recordConsumer, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxAckPending: 256, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return fmt.Errorf("open the record queue: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(64), jetstream.PullHeartbeat(5*time.Second))
	if err != nil {
		return fmt.Errorf("open the record queue: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("next record: %w", err)
		}
		// A record that can't be taken now holds up those behind it: their order
		// is what makes the numbers gapless.
		for handle(ctx, m.Subject(), m.Data()) != nil {
			if err := m.InProgress(); err != nil {
				return fmt.Errorf("hold record: %w", err)
			}
			if !pause(ctx, retryPause) {
				return ctx.Err()
			}
		}
		// Dying here offers the record again; the ledger knows its number.
		if err := m.Ack(); err != nil {
			return fmt.Errorf("take record off: %w", err)
		}
	}
}

// EnsureRecords makes the record queue when there is none, so that gateways can
// send before the recorder first listens.
func (c *Conn) EnsureRecords(ctx context.Context) error { return c.ensureStream(ctx) }

func (c *Conn) ensureStream(ctx context.Context) error {
	size := c.maxStore
	if size == 0 {
		return errors.New("jetstream: only control may open the record queue")
	}
	_, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: recordStream, Subjects: []string{bus.SubjectRecords + "*"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
		MaxBytes: size, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("open the record queue: %w", err)
	}
	return nil
}

// pause waits, and reports false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
