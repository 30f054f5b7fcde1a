package usage

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

var at = time.UnixMilli(1_800_000_000_000)

func token(i int) *mintmark.Token {
	return &mintmark.Token{ID: mintmark.TokenID(fmt.Sprintf("tok_%026d", i)), Client: "shop", Mark: mintmark.Mark{Release: "s/one"}}
}

// TestCountsAreExact: whatever is counted while flushes run comes out once.
func TestCountsAreExact(t *testing.T) {
	const workers, each, tokens = 8, 20_000, 500
	c := New(Config{})
	routes := []*epoch.RouteEntry{{ID: "s/a"}, {ID: "s/b", Index: 1}}
	toks := make([]*mintmark.Token, tokens)
	for i := range toks {
		toks[i] = token(i)
	}
	got := map[string]uint64{}
	var b bus.RecordBatch
	drain := func() {
		b.Usage = b.Usage[:0]
		c.Flush(&b)
		for _, u := range b.Usage {
			got[string(u.Token)+u.Route+string(u.Code)] += u.N
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
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				code := mintmark.CodeNone
				if i%7 == 0 {
					code = mintmark.CodeScope
				}
				c.Count(toks[i%tokens], routes[i%2], nil, code, at)
			}
		})
	}
	wg.Wait()
	close(stop)
	<-flushed
	drain()
	want := map[string]uint64{}
	for i := range each {
		code := mintmark.CodeNone
		if i%7 == 0 {
			code = mintmark.CodeScope
		}
		want[string(toks[i%tokens].ID)+routes[i%2].ID+string(code)] += workers
	}
	if len(got) != len(want) {
		t.Errorf("%d combinations, want %d", len(got), len(want))
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d, want %d", k, got[k], n)
		}
	}
}

func TestOverflowKeepsTheSumAndAsksForAFlush(t *testing.T) {
	c := New(Config{Cells: 1})
	const n = 10_000
	for i := range n {
		c.Count(token(i), nil, nil, mintmark.CodeNone, at)
	}
	select {
	case <-c.Full():
	default:
		t.Error("nobody was asked to flush")
	}
	var b bus.RecordBatch
	c.Flush(&b)
	sum, unnamed := uint64(0), uint64(0)
	for _, u := range b.Usage {
		sum += u.N
		if u.Token == "" {
			unnamed += u.N
			if u.Client != "shop" || u.Release != "s/one" {
				t.Errorf("unnamed counts lost their client or release: %+v", u)
			}
		}
	}
	if sum != n || unnamed == 0 {
		t.Errorf("counted %d (%d unnamed), want %d", sum, unnamed, n)
	}
	if len(b.Usage) > 1024 {
		t.Errorf("%d deltas: memory is not bounded", len(b.Usage))
	}
}

func TestFirstAndLast(t *testing.T) {
	c := New(Config{})
	tok := token(1)
	for _, d := range []time.Duration{5, 2, 9} {
		c.Count(tok, nil, nil, mintmark.CodeNone, at.Add(d*time.Second))
	}
	var b bus.RecordBatch
	c.Flush(&b)
	if len(b.Usage) != 1 || b.Usage[0].N != 3 || b.Usage[0].First != at.UnixMilli()+2000 || b.Usage[0].Last != at.UnixMilli()+9000 {
		t.Errorf("got %+v", b.Usage)
	}
}

func TestRefusalsBeyondTheBoundAreCounted(t *testing.T) {
	c := New(Config{Singles: 2})
	for range 5 {
		c.Refuse(bus.Refusal{Code: mintmark.CodeExpired})
	}
	var b bus.RecordBatch
	c.Flush(&b)
	if len(b.Refusals) != 2 || b.Sampled != 3 {
		t.Errorf("%d singly and %d sampled out, want 2 and 3", len(b.Refusals), b.Sampled)
	}
	c.Refuse(bus.Refusal{})
	b = bus.RecordBatch{}
	if c.Flush(&b); len(b.Refusals) != 1 || b.Sampled != 0 {
		t.Error("a new interval did not begin anew")
	}
}

func TestCountingAgainDoesNotAllocate(t *testing.T) {
	c := New(Config{})
	tok, r := token(1), &epoch.RouteEntry{ID: "s/a"}
	c.Count(tok, r, nil, mintmark.CodeNone, at)
	if n := testing.AllocsPerRun(100, func() { c.Count(tok, r, nil, mintmark.CodeNone, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
