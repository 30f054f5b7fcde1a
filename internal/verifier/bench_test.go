package verifier

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"runtime"
	"testing"
	"unsafe"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/usage"
)

const benchTokens = 1_000_000

// value writes the i-th of the distinct 700-byte values into room.
func value(room []byte, i int) string {
	binary.BigEndian.PutUint64(room[300:], uint64(i)*0x9e3779b97f4a7c15)
	return unsafe.String(&room[0], len(room)) // lives for one call, as a header's does
}

// BenchmarkCachedDecision is a gateway's whole decision for a cached token among
// a million: look-up, match, every check, usage count.
func BenchmarkCachedDecision(b *testing.B) {
	for _, facts := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint("revocations=", facts), func(b *testing.B) {
			s := snapshot(b, nil)
			room := make([]byte, 700)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			v := New(Config{Entries: benchTokens})
			var out Verified
			for i := range benchTokens {
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
			count := usage.New(usage.Config{Cells: 4 * benchTokens})
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
				count.Count(&out.Token, d.Route, d.Release, d.Code, at)
			}
			for i := range benchTokens {
				decide(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for b.Loop() {
				decide(i)
				if i += 7919; i >= benchTokens {
					i -= benchTokens
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(v.Stats().Entries), "B/token")
			b.ReportMetric(0, "B/op")
			count.Flush(&bus.RecordBatch{})
		})
	}
}

// BenchmarkKey compares the hashes that could name a cached token.
func BenchmarkKey(b *testing.B) {
	v := make([]byte, 700)
	b.Run("gmac", func(b *testing.B) {
		h := newHasher([32]byte{1})
		room := make([]byte, 16)
		b.ReportAllocs()
		for b.Loop() {
			h.sum(room, v)
		}
	})
	b.Run("maphash and compare", func(b *testing.B) {
		seed, other := maphash.MakeSeed(), string(v)
		for b.Loop() {
			if maphash.Bytes(seed, v) == 0 || string(v) != other {
				b.Fatal()
			}
		}
	})
	b.Run("sha256", func(b *testing.B) {
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
		v := New(Config{})
		var out Verified
		b.ReportAllocs()
		for b.Loop() {
			if code := v.Verify(context.Background(), s, admission.SchemeBearer, token, at, &out); code != "" {
				b.Fatal(code)
			}
			b.StopTimer()
			v.cache.drop(v.cache.get((*digest)(out.room[:])))
			b.StartTimer()
		}
	})
	b.Run("signature", func(b *testing.B) {
		sum := sha256.Sum256([]byte(token))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			sum := sha256.Sum256([]byte(token))
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
				b.Fatal()
			}
		}
	})
}
