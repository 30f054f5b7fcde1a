package revocation

import (
	"encoding/binary"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

func id(prefix string, n int) string {
	var r [10]byte
	binary.BigEndian.PutUint64(r[:8], uint64(n))
	return mintmark.NewID(prefix, time.UnixMilli(1_800_000_000_000), r)
}

// naive is the model: the line of a token written out as tokens, and conditions
// spelled out once more.
func naive(r *mintmark.Revocation, t *mintmark.Token) bool {
	line := []mintmark.Token{*t}
	for i, id := range t.Via {
		one := *t // of an old token only the id is known
		one.ID = id
		if i < len(t.Origins) {
			o := t.Origins[i]
			one = mintmark.Token{
				ID: id, Kind: mintmark.KindOpaque, Issuer: t.Issuer, IssuedAt: t.IssuedAt, Subject: o.Subject, Client: o.Client, Grant: o.Grant,
				Family: o.Family, Scopes: o.Scopes, Audience: o.Audience, Mark: o.Mark,
			}
			if !t.Own() {
				one.Kind = mintmark.KindForeign
			}
			if o.Issuer != "" {
				one.Kind, one.Issuer, one.IssuedAt = mintmark.KindForeign, o.Issuer, o.IssuedAt
			}
		}
		line = append(line, one)
	}
	return slices.ContainsFunc(line, func(one mintmark.Token) bool { return naively(r, &one) })
}

func naively(r *mintmark.Revocation, t *mintmark.Token) bool {
	s := r.Selector
	pairs := [][2]string{
		{string(s.Family), string(t.Family)},
		{string(s.Grant), string(t.Grant)},
		{s.Subject, t.Subject},
		{string(s.Client), string(t.Client)},
		{s.Issuer, t.Issuer},
		{s.Key, t.Mark.Key},
		{string(s.Release), string(t.Mark.Release)},
	}
	any := !s.IssuedFrom.IsZero() || !s.IssuedTo.IsZero() || s.Scope != "" || s.Audience != ""
	if s.Token != "" {
		any = true
		if t.ID != s.Token {
			return false
		}
	}
	for _, p := range pairs {
		if p[0] != "" {
			any = true
			if p[0] != p[1] {
				return false
			}
		}
	}
	if !any || s.Scope != "" && !slices.Contains(t.Scopes, s.Scope) || s.Audience != "" && !slices.Contains(t.Audience, s.Audience) {
		return false
	}
	c := r.Cutoff
	if c == (mintmark.Cutoff{}) { // the window as a person gave it, against iat's second
		iat := time.Unix(t.IssuedAt, 0)
		if t.Kind != mintmark.KindForeign && t.Mark.Seq != 0 || t.IssuedAt == 0 {
			return true
		}
		early := !s.IssuedFrom.IsZero() && !iat.Add(time.Second).After(s.IssuedFrom)
		late := !s.IssuedTo.IsZero() && !iat.Before(s.IssuedTo.Add(time.Second))
		return !early && !late
	}
	if t.Kind != mintmark.KindForeign && t.Mark.Seq != 0 {
		return c.FromSeq <= t.Mark.Seq && (t.Mark.Seq <= c.ToSeq || c.ToSeq == 0)
	}
	return t.IssuedAt == 0 || c.From <= t.IssuedAt && (t.IssuedAt <= c.To || c.To == 0)
}

func few(t *rapid.T, label string, values ...string) string {
	return rapid.SampledFrom(append(values, "")).Draw(t, label)
}

// drawToken draws a token, and now and then those that it was exchanged from.
func drawToken(t *rapid.T) *mintmark.Token {
	tok := drawOne(t)
	for range rapid.IntRange(0, 2).Draw(t, "exchanges") {
		from := drawOne(t)
		tok.Via = append(tok.Via, from.ID)
		tok.Origins = append(tok.Origins, mintmark.OriginOf(from))
	}
	tok.Origins = tok.Origins[:rapid.IntRange(0, len(tok.Origins)).Draw(t, "known")]
	return tok
}

func drawOne(t *rapid.T) *mintmark.Token {
	tok := &mintmark.Token{
		ID:       mintmark.TokenID(rapid.SampledFrom([]string{id("tok", 1), id("tok", 2), id("fgn", 1), "odd"}).Draw(t, "id")),
		Kind:     rapid.SampledFrom([]mintmark.TokenKind{mintmark.KindAccessJWT, mintmark.KindAPIKey, mintmark.KindForeign}).Draw(t, "kind"),
		Family:   mintmark.FamilyID(few(t, "fam", id("fam", 1), id("fam", 2))),
		Grant:    mintmark.GrantID(few(t, "grt", id("grt", 1))),
		Subject:  few(t, "sub", "alice", "bob"),
		Client:   mintmark.ClientID(few(t, "client", "shop", "cli")),
		Issuer:   few(t, "iss", "https://a", "https://b"),
		Scopes:   mintmark.SortedSet([]string{few(t, "s1", "read", "write"), few(t, "s2", "read", "admin")}),
		Audience: mintmark.SortedSet([]string{few(t, "a1", "api", "other")}),
		IssuedAt: rapid.Int64Range(0, 12).Draw(t, "iat"),
	}
	tok.Mark = mintmark.Mark{Release: mintmark.ReleaseID(few(t, "rel", "s/one", "s/two")), Key: few(t, "kid", "k1", "k2")}
	if tok.Own() {
		tok.Mark.Seq = rapid.Uint64Range(0, 12).Draw(t, "seq")
	}
	return tok
}

func drawFact(t *rapid.T, n int) mintmark.Revocation {
	r := mintmark.Revocation{
		ID:     mintmark.RevocationID(id("rev", n)),
		Action: rapid.SampledFrom([]mintmark.Action{mintmark.ActionRevoke, mintmark.ActionSuspend}).Draw(t, "action"),
		Reason: few(t, "reason", "stolen"),
		Forget: rapid.SampledFrom([]int64{0, 5, 10}).Draw(t, "forget"),
	}
	if rapid.IntRange(0, 9).Draw(t, "odd id") == 0 {
		r.ID = mintmark.RevocationID(fmt.Sprint("by hand ", n))
	}
	s := &r.Selector
	one := func(label string) bool { return rapid.IntRange(0, 4).Draw(t, label) == 0 }
	if one("by token") {
		s.Token = mintmark.TokenID(few(t, "f tok", id("tok", 1), id("fgn", 1), "odd"))
	}
	if one("by family") {
		s.Family = mintmark.FamilyID(few(t, "f fam", id("fam", 1)))
	}
	if one("by grant") {
		s.Grant = mintmark.GrantID(few(t, "f grt", id("grt", 1)))
	}
	if one("by subject") {
		s.Subject = few(t, "f sub", "alice")
	}
	if one("by client") {
		s.Client = mintmark.ClientID(few(t, "f client", "shop"))
	}
	if one("by issuer") {
		s.Issuer = few(t, "f iss", "https://a")
	}
	if one("by key") {
		s.Key = few(t, "f key", "k1")
	}
	if one("by release") {
		s.Release = mintmark.ReleaseID(few(t, "f rel", "s/one"))
	}
	if one("by scope") {
		s.Scope = few(t, "f scope", "read", "admin")
	}
	if one("by audience") {
		s.Audience = few(t, "f aud", "api")
	}
	if one("from") {
		s.IssuedFrom = time.Unix(rapid.Int64Range(1, 10).Draw(t, "from s"), rapid.Int64Range(0, 1).Draw(t, "from half")*5e8)
	}
	if one("to") {
		s.IssuedTo = time.Unix(rapid.Int64Range(1, 10).Draw(t, "to s"), rapid.Int64Range(0, 1).Draw(t, "to half")*5e8)
	}
	if one("cutoff") {
		r.Cutoff = mintmark.Cutoff{
			FromSeq: rapid.Uint64Range(0, 8).Draw(t, "from seq"), ToSeq: rapid.Uint64Range(0, 12).Draw(t, "to seq"),
			From: rapid.Int64Range(0, 8).Draw(t, "from"), To: rapid.Int64Range(0, 12).Draw(t, "to"),
		}
	}
	return r
}

// The model compares seconds by another road than Covers does, so that a slip in
// either shows.
func TestSetAgreesWithNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := NewSet()
		var model []mintmark.Revocation
		for n := range rapid.IntRange(1, 40).Draw(t, "steps") {
			before := set.Version()
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "restore")
					if got := set.Restore(model[i].ID); got != 1 {
						t.Fatalf("restored %d facts, want 1", got)
					}
					model = slices.Delete(model, i, i+1)
				}
			case 1:
				now := rapid.Int64Range(4, 12).Draw(t, "forget at")
				set.Forget(now)
				model = slices.DeleteFunc(model, func(r mintmark.Revocation) bool { return r.Forget != 0 && r.Forget < now })
			case 2:
				set.Load(slices.Values(slices.Clone(model)))
			default:
				r := drawFact(t, n)
				set.Apply(r)
				set.Apply(r) // delivered twice
				if !r.Selector.IsZero() {
					model = append(model, r)
				}
				if set.Version() == before {
					t.Fatal("version did not change")
				}
			}
			check(t, set, model)
		}
	})
}

func check(t *rapid.T, set *Set, model []mintmark.Revocation) {
	if set.Len() != len(model) {
		t.Fatalf("%d facts, want %d", set.Len(), len(model))
	}
	for range 5 {
		tok := drawToken(t)
		var want mintmark.Action
		for i := range model {
			if c := Covers(&model[i], tok); c != naive(&model[i], tok) {
				t.Fatalf("Covers = %v for %+v of %+v", c, model[i], tok)
			} else if c && want != mintmark.ActionRevoke {
				want = model[i].Action
			}
		}
		got := set.Find(tok)
		switch {
		case want == 0 && got != nil:
			t.Fatalf("found %+v for %+v", got, tok)
		case want != 0 && (got == nil || got.Action != want):
			t.Fatalf("found %+v for %+v, want %v", got, tok, want)
		case got != nil && !slices.Contains(model, *got):
			t.Fatalf("found a fact that was never made: %+v", got)
		}
	}
	all := slices.Collect(set.All())
	for i := range all {
		if !slices.Contains(model, all[i]) {
			t.Fatalf("All yields %+v, which is not in force", all[i])
		}
	}
	if len(all) != len(model) {
		t.Fatalf("All yields %d of %d", len(all), len(model))
	}
}

func TestCutoffIncludesTheNextWholeSecond(t *testing.T) {
	at := time.Unix(100, 300)
	c := Until(7, at)
	r := mintmark.Revocation{Selector: mintmark.Selector{Client: "c"}, Cutoff: c}
	for _, tc := range []struct {
		tok  mintmark.Token
		want bool
	}{
		{mintmark.Token{Kind: mintmark.KindForeign, Client: "c", IssuedAt: 101}, true},
		{mintmark.Token{Kind: mintmark.KindForeign, Client: "c", IssuedAt: 102}, false},
		{mintmark.Token{Kind: mintmark.KindForeign, Client: "c"}, true}, // does not say
		{mintmark.Token{Kind: mintmark.KindOpaque, Client: "c", IssuedAt: 999, Mark: mintmark.Mark{Seq: 7}}, true},
		{mintmark.Token{Kind: mintmark.KindOpaque, Client: "c", IssuedAt: 1, Mark: mintmark.Mark{Seq: 8}}, false},
	} {
		if got := Covers(&r, &tc.tok); got != tc.want {
			t.Errorf("%+v: covered %v, want %v", tc.tok, got, tc.want)
		}
	}
}

func TestResolveWindowBeforeTheFirstToken(t *testing.T) {
	s := mintmark.Selector{IssuedTo: time.Unix(5, 0)}
	r := mintmark.Revocation{Selector: s, Cutoff: Resolve(s, 0, 0)}
	if Covers(&r, &mintmark.Token{Kind: mintmark.KindOpaque, Mark: mintmark.Mark{Seq: 1}, IssuedAt: 9}) {
		t.Error("a window that ended before the first token covers one")
	}
}

func TestPackIsTheInverseOfUnpack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune(idAlphabet+"il ")), 26, 26, -1).Draw(t, "text")
		b, ok := pack(text)
		if ok && unpack("", b) != text {
			t.Fatalf("%q packs, and unpacks as %q", text, unpack("", b))
		}
		whole := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bits")
		if b, ok = pack(unpack("", [16]byte(whole))); !ok || b != [16]byte(whole) {
			t.Fatalf("%x does not survive", whole)
		}
	})
}

func TestReadersNeverMissAnAppliedFact(t *testing.T) {
	set := NewSet()
	const n = 20_000
	applied := make(chan int, 64)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range applied {
				if set.Find(&mintmark.Token{ID: mintmark.TokenID(id("tok", i))}) == nil {
					t.Errorf("token %d is not covered though its fact was applied", i)
				}
			}
		})
	}
	for i := range n {
		set.Apply(mintmark.Revocation{ID: mintmark.RevocationID(id("rev", i)), Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: mintmark.TokenID(id("tok", i))}})
		applied <- i
	}
	close(applied)
	wg.Wait()
}

func TestFindDoesNotAllocate(t *testing.T) {
	set := many(10_000)
	tok := benchToken()
	if n := testing.AllocsPerRun(100, func() { set.Find(tok) }); n != 0 {
		t.Errorf("Find allocates %v times", n)
	}
}

func many(n int) *Set {
	set := NewSet()
	set.Load(func(yield func(mintmark.Revocation) bool) {
		for i := range n {
			r := mintmark.Revocation{ID: mintmark.RevocationID(id("rev", i)), Action: mintmark.ActionRevoke, Reason: "stolen", Actor: "user:op", Forget: 2e9, Made: 1}
			switch i % 20 {
			case 0:
				r.Selector.Family = mintmark.FamilyID(id("fam", i))
			default:
				r.Selector.Token = mintmark.TokenID(id("tok", i))
			}
			yield(r)
		}
	})
	// Each broad dimension has some facts, with cutoffs that spare the token.
	for i, s := range []string{"client=shop", "release=s/one", "key=k1", "scope=read", "audience=api", "issuer=https://a", "subject=mallory"} {
		sel, err := mintmark.ParseSelector(s)
		if err != nil {
			panic(err)
		}
		set.Apply(mintmark.Revocation{ID: mintmark.RevocationID(fmt.Sprint("broad", i)), Action: mintmark.ActionRevoke, Selector: sel, Cutoff: mintmark.Cutoff{ToSeq: 5, To: 5}})
	}
	return set
}

func benchToken() *mintmark.Token {
	return &mintmark.Token{
		ID: mintmark.TokenID(strings.Clone(id("tok", -1))), Kind: mintmark.KindAccessJWT, Family: mintmark.FamilyID(id("fam", -1)),
		Grant: mintmark.GrantID(id("grt", -1)), Subject: "alice", Client: "shop", Issuer: "https://a",
		Scopes: []string{"read", "write"}, Audience: []string{"api"}, Mark: mintmark.Mark{Release: "s/one", Key: "k1", Seq: 9}, IssuedAt: 9,
	}
}

var tenMillion = flag.Bool("ten-million", false, "benchmark with ten million facts too")

func BenchmarkFind(b *testing.B) {
	sizes := []int{0, 1_000_000}
	if *tenMillion {
		sizes = append(sizes, 10_000_000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint("facts=", n), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			set := many(n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			toks := make([]*mintmark.Token, 65536)
			for i := range toks {
				toks[i] = benchToken()
				toks[i].ID = mintmark.TokenID(id("tok", -1-i))
				toks[i].Family = mintmark.FamilyID(id("fam", -1-i))
			}
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for b.Loop() {
				if set.Find(toks[i&65535]) != nil {
					b.Fatal("covered")
				}
				i++
			}
			if n > 0 {
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/fact")
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	set := many(1_000_000)
	b.ReportAllocs()
	i := 2_000_000
	for b.Loop() {
		i++
		set.Apply(mintmark.Revocation{ID: mintmark.RevocationID(id("rev", i)), Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: mintmark.TokenID(id("tok", i))}})
	}
}
