package verifier

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/usage"
)

// TestCountsAreExact: every decision comes out of the flushes once, under its own
// token, whatever is evicted, moved or flushed at that moment.
func TestCountsAreExact(t *testing.T) {
	const workers, each, tokens = 4, 3_000, 400
	s := snapshot(t, nil)
	counter := usage.New(usage.Config{})
	v := New(Config{Entries: 300, Counts: counter}) // fewer than there are tokens
	routes := []*epoch.RouteEntry{s.Table.Routes()[0], {Route: &epoch.Route{}, ID: "shop/other"}}
	got := map[string]uint64{}
	drain := func() {
		var b bus.RecordBatch
		counter.Flush(&b)
		for _, u := range b.Usage {
			got[string(u.Token)+" "+u.Route] += u.N
			if u.First != at.UnixMilli() || u.Last != u.First || u.Client != "app" || u.Release != "shop/one" || u.Issuer != as {
				t.Errorf("%+v", u)
			}
		}
	}
	stop, flushed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flushed)
		for {
			select {
			case <-stop:
				return
			default:
				drain()
			}
		}
	}()
	var mu sync.Mutex
	want := map[string]uint64{}
	inline := 0
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var out Verified
			mine, here := map[string]uint64{}, 0
			for i := range each {
				n := (i*7 + w*13) % tokens
				if v.Verify(context.Background(), s, admission.SchemeBearer, fmt.Sprint("value ", n), at, &out) != mintmark.CodeNone {
					put(v, s, &out, fmt.Sprint("value ", n), n)
				}
				if out.Token.ID != tokenID(n) {
					t.Errorf("value %d gives token %s", n, out.Token.ID)
				}
				r := routes[i%16/15]
				if out.Count(r, nil, mintmark.CodeNone, at) {
					here++
				} else {
					counter.Count(&out.Token, r, nil, mintmark.CodeNone, at)
				}
				mine[string(tokenID(n))+" "+r.ID]++
			}
			mu.Lock()
			defer mu.Unlock()
			inline += here
			for k, n := range mine {
				want[k] += n
			}
		})
	}
	wg.Wait()
	close(stop)
	<-flushed
	drain()
	if len(got) != len(want) {
		t.Errorf("%d combinations, want %d", len(got), len(want))
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d, want %d", k, got[k], n)
		}
	}
	if inline < workers*each/2 {
		t.Errorf("only %d of %d counted with their tokens", inline, workers*each)
	}
	if v.Stats().Evicted == 0 {
		t.Error("nothing was evicted: the test tests little")
	}
}

// TestMemoStaysWithItsToken: what was learnt about a token that was given up is
// not taken for another's that has its slot now.
func TestMemoStaysWithItsToken(t *testing.T) {
	s := snapshot(t, nil)
	v := New(Config{Entries: 1, Counts: usage.New(usage.Config{})})
	var first, second Verified
	put(v, s, &first, "value 0", 0)
	first.Memo = &admission.Memo{Revoked: 77, Home: &first}
	put(v, s, &second, "value 1", 1)
	first.Learn(first.Memo)
	if first.Count(s.Table.Routes()[0], nil, mintmark.CodeNone, at) {
		t.Error("counted with a token that is gone")
	}
	code := v.Verify(context.Background(), s, admission.SchemeBearer, "value 1", at, &second)
	if code != "" || second.Token.ID != tokenID(1) || second.Memo.Revoked != 0 {
		t.Errorf("%q %s %+v", code, second.Token.ID, second.Memo)
	}
	second.Memo.Revoked = 78
	second.Learn(second.Memo)
	if v.Verify(context.Background(), s, admission.SchemeBearer, "value 1", at, &second); second.Memo.Revoked != 78 {
		t.Error("forgot what was learnt")
	}
}

// TestRevocationIsSeenAtOnce: the memo of a cached token never outlives a change of
// the revocations.
func TestRevocationIsSeenAtOnce(t *testing.T) {
	s := snapshot(t, nil)
	v := New(Config{})
	var out Verified
	put(v, s, &out, "value 0", 0)
	decide := func() mintmark.Code {
		if code := v.Verify(context.Background(), s, admission.SchemeBearer, "value 0", at, &out); code != "" {
			return code
		}
		d := admission.Decide(&admission.Request{
			Snapshot: s, Method: "GET", Path: "/api/items/1", Scheme: admission.SchemeBearer, Now: at,
			Fresh: admission.Freshness{Leased: true}, Token: &out.Token, Memo: out.Memo,
		})
		return d.Code
	}
	for i := range 3 {
		id := mintmark.RevocationID(fmt.Sprint("rev_", i))
		if code := decide(); code != "" {
			t.Fatal(code)
		}
		if out.Memo.Revoked != s.Revoked.Version() {
			t.Error("not remembered")
		}
		s.Revoked.Apply(mintmark.Revocation{ID: id, Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Subject: "user-0"}})
		if code := decide(); code != mintmark.CodeSuspended {
			t.Fatalf("%q after the revocation", code)
		}
		s.Revoked.Restore(id)
	}
}

// TestClockJump: times stay whole when the clock jumps by years.
func TestClockJump(t *testing.T) {
	s := snapshot(t, nil)
	counter := usage.New(usage.Config{})
	v := New(Config{Counts: counter})
	var out Verified
	put(v, s, &out, "value 0", 0)
	now, inline := at, false
	for i := range 5 {
		if i == 1 {
			now = at.AddDate(5, 0, 0)
		}
		if inline = out.Count(s.Table.Routes()[0], nil, mintmark.CodeNone, now); !inline {
			counter.Count(&out.Token, s.Table.Routes()[0], nil, mintmark.CodeNone, now)
		}
		var b bus.RecordBatch
		counter.Flush(&b)
		if len(b.Usage) != 1 || b.Usage[0].N != 1 || b.Usage[0].First != now.UnixMilli() || b.Usage[0].Last != now.UnixMilli() {
			t.Errorf("%d: %+v", i, b.Usage)
		}
	}
	if !inline {
		t.Error("never counts with the token again")
	}
}
