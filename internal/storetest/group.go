package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// testGroup makes many goroutines append at once, half of them things that must
// fail, while steps fail at random: a counter document per stream is moved from n
// to n+1 only by whoever expected n, so that its version must end as the number of
// successes, and the numbers of all successes must be distinct and without gaps
// between the events of one batch.
func testGroup(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var failures sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 1)) // guarded by failures
	fail := func(step string) error {
		failures.Lock()
		defer failures.Unlock()
		if step != "committed" && dice.IntN(400) == 0 {
			return errors.New("random failure at " + step)
		}
		return nil
	}
	b.Fail.Store(&fail)

	const writers, rounds, streams = 24, 30, 4
	var mu sync.Mutex
	numbers := map[uint64]bool{} // guarded by mu
	won := map[string]uint64{}   // guarded by mu
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)+2))
			for range rounds {
				id := fmt.Sprint(r.IntN(streams))
				stream := "setting/" + id
				var at uint64
				if d, err := b.Store.Document(bg, ledger.DocSetting, id); err == nil {
					at = d.Version
				}
				_, token := b.Token(nil)
				events := []mintmark.Event{token, Event(stream, "setting.moved", map[string]any{"n": at + 1})}
				if r.IntN(4) == 0 { // the last event does not fold: all must be undone
					events = append(events, Event("token/none", mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: "none"}))
				}
				c, err := b.Append(bg, ledger.Batch{Events: events, Expect: []ledger.Expect{{Stream: stream, Version: at}}})
				if err != nil {
					if !errors.Is(err, ledger.ErrConflict) && !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, ledger.ErrUnavailable) {
						t.Errorf("append: %v", err)
					}
					continue
				}
				mu.Lock()
				won[id]++
				for n := c.First; n <= c.Last; n++ {
					if numbers[n] {
						t.Errorf("event number %d given twice", n)
					}
					numbers[n] = true
				}
				if len(events) != 2 || c.Last != c.First+1 {
					t.Errorf("batch of %d events got %d to %d", len(events), c.First, c.Last)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.Fail.Store(nil)
	var total uint64
	for id, n := range won {
		total += n
		if d, err := b.Store.Document(bg, ledger.DocSetting, id); err != nil || d.Version != n {
			t.Errorf("setting %s is at %d after %d successes (%v)", id, d.Version, n, err)
		}
	}
	if total == 0 {
		t.Error("nothing succeeded")
	}
	if r := b.Verify(t); r.Events != 2*total || r.Tokens != total {
		t.Errorf("%d events and %d tokens after %d successes", r.Events, r.Tokens, total)
	}
}
