package bus

import (
	"context"
	"errors"
)

// Errors of a connection that callers decide by.
var (
	// ErrNoAnswer: nobody answered in time, or nobody listens there. Whether the
	// other side acted is unknown.
	ErrNoAnswer = errors.New("bus: no answer")
	// ErrClosed: the connection was closed by its owner.
	ErrClosed = errors.New("bus: closed")
)

// Handler takes one message. What it returns is sent back when the sender asked
// for an answer; nil sends nothing. A subscription calls it for one message at a
// time, in the order of arrival; it must not block for longer than the senders
// are willing to wait.
type Handler func(ctx context.Context, subject string, data []byte) (reply []byte)

// Conn is one party's connection to the bus. It is safe for concurrent use. A
// cut connection heals by itself and renews its subscriptions; what was sent
// meanwhile is lost, which the state log's numbers and the spool make good.
type Conn interface {
	// Publish sends without waiting for anybody to receive.
	Publish(ctx context.Context, subject string, data []byte) error
	// Request sends and waits for one answer, until ctx ends: ErrNoAnswer then.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
	// Subscribe calls handle for messages on a subject, in which * stands for one
	// word, until the returned stop is called. After stop has returned no call is
	// in progress; a handler must not call its own stop.
	Subscribe(subject string, handle Handler) (stop func(), err error)
	// Serve is Subscribe with up to that many calls at a time, in no order.
	Serve(subject string, workers int, handle Handler) (stop func(), err error)
}

// Records is the durable queue between gateways and the recorder. Durable here
// means that the queue's process may restart, not that power may fail: a sender
// keeps a record until the recorder has answered Recorded.
type Records interface {
	// PublishRecord stores one record under a subject; id makes a repeat within
	// two minutes a no-op.
	PublishRecord(ctx context.Context, subject, id string, data []byte) error
	// ConsumeRecords calls handle for each record, oldest first and one at a time,
	// until ctx ends. A record is taken off when handle returns nil and offered
	// again later when not.
	ConsumeRecords(ctx context.Context, handle func(ctx context.Context, subject string, data []byte) error) error
}
