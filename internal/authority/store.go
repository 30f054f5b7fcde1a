package authority

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// load reads a document into v and returns its version; ledger.ErrNotFound when
// there is none.
func (a *Authority) load(ctx context.Context, kind, id string, v any) (uint64, error) {
	doc, err := a.d.Documents.Document(ctx, kind, id)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(doc.Body, v); err != nil {
		return 0, fmt.Errorf("decode %s/%s: %w", kind, id, err)
	}
	return doc.Version, nil
}

// put builds the event and expectation that replace a document at a version; 0
// makes it. A nil v removes it.
func put(kind, id string, version uint64, v any) ledger.Batch {
	stream := kind + "/" + id
	return ledger.Batch{
		Events: []mintmark.Event{event(stream, mintmark.EventType(kind+".written"), nil, v)},
		Expect: []ledger.Expect{{Stream: stream, Version: version}},
	}
}

// join adds batches up: all of it is written or nothing.
func join(bs ...ledger.Batch) ledger.Batch {
	var out ledger.Batch
	for _, b := range bs {
		out.Events = append(out.Events, b.Events...)
		out.Expect = append(out.Expect, b.Expect...)
		out.Once = append(out.Once, b.Once...)
	}
	return out
}

// spend sets single-use marks for a request that appends nothing else.
func (a *Authority) spend(ctx context.Context, once []ledger.Once) error {
	if len(once) == 0 {
		return nil
	}
	_, err := a.d.Ledger.Append(ctx, ledger.Batch{Once: once})
	return err
}

// secret makes a random value for a code, cookie or request_uri, and the document
// id it is stored under: its keyed hash, so that the database alone yields none.
func (a *Authority) secret() (value, id string, err error) {
	var r [32]byte
	if err := a.random(r[:]); err != nil {
		return "", "", err
	}
	value = base64.RawURLEncoding.EncodeToString(r[:])
	return value, a.secretID(value), nil
}

func (a *Authority) secretID(value string) string {
	return base64.RawURLEncoding.EncodeToString(a.handleOf(value))
}

// client reads a client that may be used.
func (a *Authority) client(ctx context.Context, id mintmark.ClientID) (*Client, error) {
	if id == "" || len(id) > 256 {
		return nil, errClient
	}
	var c Client
	v, err := a.load(ctx, ledger.DocClient, string(id), &c)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil, errClient
	case err != nil:
		return nil, err
	case c.Disabled || c.ID != id:
		return nil, errClient
	}
	c.version = v
	return &c, nil
}

// user finds an account that may be used by its subject; nil when there is none
// or it is disabled.
func (a *Authority) userBySubject(ctx context.Context, subject string) (*User, error) {
	doc, err := a.d.Documents.DocumentByRef(ctx, ledger.DocUser, "sub:"+subject)
	if errors.Is(err, ledger.ErrNotFound) {
		doc, err = a.d.Documents.Document(ctx, ledger.DocUser, subject)
	}
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var u User
	if err := json.Unmarshal(doc.Body, &u); err != nil {
		return nil, fmt.Errorf("decode user: %w", err)
	}
	if u.Disabled || u.Sub() != subject {
		return nil, nil
	}
	return &u, nil
}
