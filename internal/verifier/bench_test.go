package verifier

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/usage"
)

// value writes the i-th of the distinct 700-byte values into room.
func value(room []byte, i int) string {
	binary.BigEndian.PutUint64(room[300:], uint64(i)*0x9e3779b97f4a7c15)
	return unsafe.String(&room[0], len(room)) // lives for one call, as a header's does
}

// BenchmarkCachedDecision is a gateway's whole decision for a cached token among
// a million: look-up, match, every check, usage count. Among a thousand it shows
// what is left when everything is in the processor's caches.
func BenchmarkCachedDecision(b *testing.B) {
	for _, c := range []struct{ tokens, facts int }{{1000, 0}, {1_000_000, 0}, {1_000_000, 1_000_000}} {
		tokens, facts := c.tokens, c.facts
		b.Run(fmt.Sprintf("tokens=%d/revocations=%d", tokens, facts), func(b *testing.B) {
			s := snapshot(b, nil)
			room := make([]byte, 700)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			count := usage.New(usage.Config{})
			v := New(Config{Entries: max(tokens+tokens/20, 10_000), Counts: count})
			var out Verified
			for i := range tokens {
				put(v, s, &out, value(room, i), i)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			s.Revoked.Load(func(yield func(mintmark.Revocation) bool) {
				for i := range facts {
					id := fmt.Sprintf("%026d", i)
					yield(mintmark.Revocation{ID: mintmark.RevocationID("rev_" + id), Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: mintmark.TokenID("tok_1" + id[1:])}})
				}
			})
			r := admission.Request{Snapshot: s, Method: "GET", Host: "shop.example", Path: "/api/items/42", Fresh: admission.Freshness{Leased: true}, Now: at, Scheme: admission.SchemeBearer}
			ctx := context.Background()
			decide := func(i int) {
				if v.Verify(ctx, s, admission.SchemeBearer, value(room, i), at, &out) != mintmark.CodeNone {
					return // one of the few whose set was full
				}
				r.Token, r.Memo = &out.Token, out.Memo
				d := admission.Decide(&r)
				if !d.Allow {
					b.Fatal(d.Code)
				}
				if !out.Count(d.Route, d.Release, d.Code, at) {
					count.Count(&out.Token, d.Route, d.Release, d.Code, at)
				}
			}
			for i := range tokens {
				decide(i)
			}
			var batch bus.RecordBatch
			flush := func() { batch.Usage = batch.Usage[:0]; count.Flush(&batch) }
			flush()
			b.ReportAllocs()
			b.ResetTimer()
			report := cpu(b)
			i, n, flushed := 0, 0, int64(0)
			var windows []time.Duration
			begun := time.Now()
			for b.Loop() {
				decide(i)
				i = (i + 7919) % tokens
				if (n+1)%window == 0 {
					now := time.Now()
					windows = append(windows, now.Sub(begun))
					begun = now
				}
				// Flushing is another goroutine's work: once for the decisions of a
				// second.
				if n++; n%200_000 == 0 {
					b.StopTimer()
					before := spent()
					flush()
					flushed += spent() - before
					b.StartTimer()
					begun = time.Now()
				}
			}
			report(flushed)
			b.ReportMetric(undisturbed(windows), "p10-ns/op")
			b.ReportMetric(float64(flushed)/float64(b.N), "flush-ns/op")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(v.Stats().Entries), "B/token")
			b.ReportMetric(0, "B/op")
		})
	}
}

// window is how many decisions are timed together: they take less time than a
// scheduler gives away at once.
const window = 500

// undisturbed is the time of an operation in the tenth of the windows that were
// least disturbed: what it takes on a machine that does nothing else, more or less.
func undisturbed(windows []time.Duration) float64 {
	if len(windows) == 0 {
		return 0
	}
	slices.Sort(windows)
	return float64(windows[len(windows)/10]) / window
}

// BenchmarkMemoryFloor is what a look-up among a million tokens waits for memory
// and does nothing else: a tag at a random place, then both lines of a slot whose
// place depends on it. Run it alone: memory that was another table's before may
// lie in huge pages already.
func BenchmarkMemoryFloor(b *testing.B) {
	const sets = 1_000_000 * slack / slackOf / ways
	small := &table{sets: sets, tags: make([]atomic.Uint64, 2*sets), slots: make([]slot, ways*sets)}
	for i := range small.slots {
		small.slots[i].state.Store(dead)
	}
	for _, c := range []struct {
		pages string
		table *table
	}{{"small", small}, {"huge", newTable(sets)}} {
		t := c.table
		b.Run("pages="+c.pages, func(b *testing.B) {
			report := cpu(b)
			x, n := uint64(1), 0
			var windows []time.Duration
			begun := time.Now()
			for b.Loop() {
				if n++; n%window == 0 {
					now := time.Now()
					windows = append(windows, now.Sub(begun))
					begun = now
				}
				x = x*6364136223846793005 + 1442695040888963407
				i, _ := bits.Mul64(x, ways*sets)
				i = (i + t.tags[i/8].Load()) % (ways * sets)
				x += t.slots[i].digest[0].Load() + uint64(t.slots[i].n)
			}
			report(0)
			b.ReportMetric(undisturbed(windows), "p10-ns/op")
		})
	}
}

// cpu reports the processor time of an operation, which other load on the machine
// distorts far less than the time on the clock. Call what it returns at the end,
// with the nanoseconds that do not count.
func cpu(b *testing.B) func(aside int64) {
	runtime.LockOSThread()
	before := spent()
	return func(aside int64) {
		b.ReportMetric(float64(spent()-before-aside)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}

// spent is the processor time of this thread.
func spent() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// rusageThread is Linux's RUSAGE_THREAD; elsewhere the metric is 0.
const rusageThread = 1

// BenchmarkKey compares the hashes that could name a cached token.
func BenchmarkKey(b *testing.B) {
	v := make([]byte, 700)
	b.Run("ours", func(b *testing.B) {
		h := newHasher([32]byte{1})
		b.ReportAllocs()
		defer cpu(b)(0)
		for b.Loop() {
			h.sum(v)
		}
	})
	b.Run("gmac", func(b *testing.B) {
		block, _ := aes.NewCipher(make([]byte, 16))
		h, _ := cipher.NewGCM(block)
		nonce, room := make([]byte, 12), make([]byte, 16)
		defer cpu(b)(0)
		for b.Loop() {
			h.Seal(room[:0], nonce, nil, v)
		}
	})
	b.Run("maphash and compare", func(b *testing.B) {
		seed, other := maphash.MakeSeed(), string(v)
		defer cpu(b)(0)
		for b.Loop() {
			if maphash.Bytes(seed, v) == 0 || string(v) != other {
				b.Fatal()
			}
		}
	})
	b.Run("sha256", func(b *testing.B) {
		defer cpu(b)(0)
		for b.Loop() {
			sha256.Sum256(v)
		}
	})
}

// BenchmarkUncachedRS256 is a verification from nothing, next to the bare
// signature check.
func BenchmarkUncachedRS256(b *testing.B) {
	m, key := rsaMint(b)
	s := snapshot(b, nil)
	s.Table = snapshot(b, []epoch.Key{m.key}).Table
	token := m.sign(b, "at+jwt", claims(as))
	b.Run("whole", func(b *testing.B) {
		// Far more tokens than the cache holds, in turn: none is there any more.
		v := New(Config{Entries: 8})
		tokens := []string{token}
		for len(tokens) < 256 {
			c := claims(as)
			c["jti"] = fmt.Sprintf("tok_%026d", len(tokens))
			tokens = append(tokens, m.sign(b, "at+jwt", c))
		}
		var out Verified
		b.ReportAllocs()
		defer cpu(b)(0)
		i := 0
		for b.Loop() {
			if code := v.Verify(context.Background(), s, admission.SchemeBearer, tokens[i%len(tokens)], at, &out); code != "" {
				b.Fatal(code)
			}
			i++
		}
		if hits := v.Stats().Hits; hits*100 > uint64(i) {
			b.Fatalf("%d of %d were cached", hits, i)
		}
	})
	b.Run("signature", func(b *testing.B) {
		sum := sha256.Sum256([]byte(token))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		defer cpu(b)(0)
		for b.Loop() {
			sum := sha256.Sum256([]byte(token))
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
				b.Fatal()
			}
		}
	})
}
