package projection

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// rows is a hand-made read model.
type rows struct {
	token  *ledger.TokenRow
	family *ledger.FamilyRow
}

func (r rows) TokenByID(context.Context, mintmark.TokenID) (ledger.TokenRow, error) {
	if r.token == nil {
		return ledger.TokenRow{}, ledger.ErrNotFound
	}
	return *r.token, nil
}

func (r rows) Family(context.Context, mintmark.FamilyID) (ledger.FamilyRow, error) {
	if r.family == nil {
		return ledger.FamilyRow{}, ledger.ErrNotFound
	}
	return *r.family, nil
}

func (r rows) Grant(context.Context, mintmark.GrantID) (ledger.GrantRow, error) {
	return ledger.GrantRow{}, ledger.ErrNotFound
}

func event(stream string, typ mintmark.EventType, data any) *mintmark.Event {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return &mintmark.Event{Seq: 9, Stream: stream, Version: 2, Type: typ, At: time.Unix(1000, 0), Data: raw}
}

func TestFoldRefuses(t *testing.T) {
	live := &ledger.TokenRow{Token: mintmark.Token{ID: "t", Expires: 2000}, State: mintmark.StateIssued}
	over := &ledger.TokenRow{Token: mintmark.Token{ID: "t", Expires: 900}, State: mintmark.StateIssued}
	for name, c := range map[string]struct {
		e    *mintmark.Event
		rows rows
		want error
	}{
		"issued on another's stream":  {event("token/u", mintmark.EventTokenIssued, mintmark.TokenIssued{Token: mintmark.Token{ID: "t"}}), rows{}, nil},
		"changed on another's stream": {event("token/u", mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: "t"}), rows{token: live}, nil},
		"revoked, unknown":            {event("token/t", mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: "t"}), rows{}, ledger.ErrNotFound},
		"restored, not suspended":     {event("token/t", mintmark.EventTokenRestored, mintmark.TokenChanged{ID: "t"}), rows{token: live}, lifecycle.ErrTransition},
		"suspended, expired":          {event("token/t", mintmark.EventTokenSuspended, mintmark.TokenChanged{ID: "t"}), rows{token: over}, lifecycle.ErrTransition},
		"rotated from another token": {
			event("family/f", mintmark.EventFamilyRotated, mintmark.FamilyRotated{Family: "f", Old: "a", New: "b"}),
			rows{family: &ledger.FamilyRow{ID: "f", Current: "c"}},
			ledger.ErrConflict,
		},
		"rotated, revoked": {
			event("family/f", mintmark.EventFamilyRotated, mintmark.FamilyRotated{Family: "f", Old: "a", New: "b"}),
			rows{family: &ledger.FamilyRow{ID: "f", Current: "a", Revoked: true}},
			ledger.ErrConflict,
		},
		"opened twice":            {event("family/f", mintmark.EventFamilyOpened, mintmark.FamilyOpened{Family: "f"}), rows{}, ledger.ErrConflict},
		"document not JSON":       {&mintmark.Event{Stream: "client/c", Type: "x", Data: []byte("{")}, rows{}, nil},
		"document, bad expiry":    {event("client/c", "x", map[string]any{"expires_at": 1.5}), rows{}, nil},
		"usage of another":        {event("gateway/b", mintmark.EventUsageRecorded, bus.RecordBatch{Gateway: "a", Boot: "x", Seq: 1}), rows{}, nil},
		"usage without a number":  {event("gateway/a", mintmark.EventUsageRecorded, bus.RecordBatch{Gateway: "a", Boot: "x"}), rows{}, nil},
		"row that is not one":     {event("state", mintmark.EventStateCommitted, map[string]any{"body": "eA=="}), rows{}, nil},
		"purge that is not JSON":  {&mintmark.Event{Stream: "ledger", Type: ledger.EventPurged}, rows{}, nil},
		"issued that is not JSON": {&mintmark.Event{Stream: "token/t", Type: mintmark.EventTokenIssued}, rows{}, nil},
	} {
		if _, err := Fold(t.Context(), c.e, c.rows); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExpiredTokenRevoked: revoking what is over is no error, and its stored state
// stays: expiry is computed.
func TestExpiredTokenRevoked(t *testing.T) {
	over := &ledger.TokenRow{Token: mintmark.Token{ID: "t", Expires: 900}, State: mintmark.StateIssued, Version: 1}
	c, err := Fold(t.Context(), event("token/t", mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: "t", Reason: "late"}), rows{token: over})
	if err != nil || len(c.Tokens) != 1 || c.Tokens[0].State != mintmark.StateIssued || c.Tokens[0].Version != 2 {
		t.Errorf("%+v, %v", c.Tokens, err)
	}
}

// TestCoalesceCounts: however deltas are spread, nothing is lost or doubled, and
// their order does not matter.
func TestCoalesceCounts(t *testing.T) {
	delta := rapid.Custom(func(t *rapid.T) bus.UsageDelta {
		first := rapid.Int64Range(0, 10_000_000).Draw(t, "first")
		return bus.UsageDelta{
			Token: mintmark.TokenID(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "token")),
			Route: rapid.SampledFrom([]string{"r", "s"}).Draw(t, "route"),
			Code:  mintmark.Code(rapid.SampledFrom([]string{"", "token_expired"}).Draw(t, "code")),
			N:     rapid.Uint64Range(1, 9).Draw(t, "n"), First: first, Last: first + rapid.Int64Range(0, 1000).Draw(t, "last"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		deltas := rapid.SliceOf(delta).Draw(t, "deltas")
		tokens, routes, hours := coalesce(deltas)
		var all, named, byToken, byRoute, byHour uint64
		for _, d := range deltas {
			all += d.N
			if d.Token != "" {
				named += d.N
			}
		}
		for _, x := range tokens {
			byToken += x.Uses + x.Refused
			if x.First > x.Last {
				t.Fatalf("first seen %d after last seen %d", x.First, x.Last)
			}
		}
		for _, x := range routes {
			byRoute += x.N
		}
		for _, x := range hours {
			byHour += x.N
		}
		if byToken != named || byRoute != named || byHour != all {
			t.Fatalf("of %d and %d: %d, %d, %d", named, all, byToken, byRoute, byHour)
		}
		for i, j := 0, len(deltas)-1; i < j; i, j = i+1, j-1 {
			deltas[i], deltas[j] = deltas[j], deltas[i]
		}
		again, routesAgain, hoursAgain := coalesce(deltas)
		for i := range again {
			again[i].Route = tokens[i].Route // of two at one millisecond either may be the last
		}
		if !reflect.DeepEqual(again, tokens) || !reflect.DeepEqual(routesAgain, routes) || !reflect.DeepEqual(hoursAgain, hours) {
			t.Fatal("order matters")
		}
	})
}

// FuzzFold: no event's data, however odd, makes the fold panic.
func FuzzFold(f *testing.F) {
	for _, typ := range []mintmark.EventType{mintmark.EventTokenIssued, mintmark.EventFamilyRotated, mintmark.EventUsageRecorded, mintmark.EventStateCommitted, ledger.EventPurged, "client.changed"} {
		f.Add("token/t", string(typ), []byte(`{"id":"t","token":{"id":"t"},"body":"e30=","usage":[{"t":"a","n":1}]}`))
	}
	f.Add("client/c", "x", []byte(`{"ref":1,"expires_at":"7"}`))
	f.Fuzz(func(t *testing.T, stream, typ string, data []byte) {
		e := &mintmark.Event{Stream: stream, Version: 1, Type: mintmark.EventType(typ), Data: data}
		_, _ = Fold(t.Context(), e, rows{token: &ledger.TokenRow{}, family: &ledger.FamilyRow{}})
	})
}
