package statusprovider_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/revocation"
	"github.com/mintmark/mintmark/internal/statuslist"
	"github.com/mintmark/mintmark/internal/statusprovider"
)

const issuer = "https://auth.example"

// rig is a provider over tokens in memory, with a clock of its own.
type rig struct {
	t      testing.TB
	p      http.Handler
	layout statuslist.Layout
	signer *jose.Signer
	now    atomic.Int64 // Unix milliseconds
	snap   atomic.Pointer[epoch.Snapshot]
	reads  atomic.Int64 // pages asked for
	fail   atomic.Bool

	mu   sync.Mutex
	rows []ledger.TokenRow // guarded by mu
}

func (r *rig) Current() *epoch.Snapshot { return r.snap.Load() }
func (r *rig) clock() time.Time         { return time.UnixMilli(r.now.Load()) }

func (r *rig) Judge() (func(t *mintmark.Token, stored mintmark.TokenState) mintmark.Code, error) {
	set := r.snap.Load().Revoked
	return func(t *mintmark.Token, stored mintmark.TokenState) mintmark.Code {
		if stored == mintmark.StateRevoked {
			return mintmark.CodeRevoked
		}
		fact := set.Find(t)
		switch {
		case t.ExpiredAt(r.clock(), 0):
			return mintmark.CodeExpired
		case fact == nil:
			return mintmark.CodeNone
		case fact.Action == mintmark.ActionSuspend:
			return mintmark.CodeSuspended
		}
		return mintmark.CodeRevoked
	}, nil
}

func (r *rig) SignList(payload []byte) (string, error) {
	return r.signer.Sign(rand.Reader, statuslist.Type, payload)
}

func (r *rig) Listed(_ context.Context, release mintmark.ReleaseID, from, to int64, after mintmark.TokenID, limit int) ([]ledger.TokenRow, error) {
	r.reads.Add(1)
	if r.fail.Load() {
		return nil, errors.New("no disk")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.rows, func(a, b ledger.TokenRow) int {
		return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.ID, b.ID))
	})
	var out []ledger.TokenRow
	past := after == ""
	for _, row := range r.rows {
		if past && row.Mark.Release == release && row.Expires >= from && row.Expires < to && len(out) < limit {
			out = append(out, row)
		}
		past = past || row.ID == after
	}
	return out, nil
}

func newRig(t testing.TB) *rig {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, layout: statuslist.Layout{Base: issuer + "/status", Key: bytes.Repeat([]byte{1}, 32)}}
	if r.signer, err = jose.NewSigner("k1", jose.ES256, k); err != nil {
		t.Fatal(err)
	}
	r.now.Store(1_800_000_000_000)
	table, err := epoch.Compile(epoch.Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.snap.Store(&epoch.Snapshot{Seq: 1, Table: table, Revoked: revocation.NewSet()})
	r.p = statusprovider.New(statusprovider.Config{
		Issuer: issuer, Layout: r.layout, Store: r, State: r, Judge: r, Issued: func() uint64 { return 200_000 }, Now: r.clock, Log: slog.New(slog.DiscardHandler),
	}).Handler("/status/")
	return r
}

// mint adds a token that expires in some seconds and returns its place.
func (r *rig) mint(seq uint64, seconds int64, change ...func(*ledger.TokenRow)) statuslist.Reference {
	row := ledger.TokenRow{State: mintmark.StateIssued, Token: mintmark.Token{
		ID:   mintmark.TokenID(mintmark.NewID(mintmark.PrefixToken, r.clock(), [10]byte{byte(seq >> 16), byte(seq >> 8), byte(seq)})),
		Kind: mintmark.KindAccessJWT, Issuer: issuer, Subject: "ada", Client: "web", IssuedAt: r.clock().Unix(), Expires: r.clock().Unix() + seconds,
		Mark: mintmark.Mark{Release: "shop/v1", Seq: seq},
	}}
	for _, f := range change {
		f(&row)
	}
	ref := r.layout.Reference(row.Mark.Release, row.Expires, seq)
	if row.Claims == nil {
		row.Claims = json.RawMessage(`{"x":1,"status":` + string(ref.Claim()) + `}`)
	}
	r.mu.Lock()
	r.rows = append(r.rows, row)
	r.mu.Unlock()
	return ref
}

// commit puts facts in force as a row of the state log.
func (r *rig) commit(facts ...mintmark.Revocation) {
	s := *r.snap.Load()
	s.Revoked.Apply(facts...)
	s.Seq++
	r.snap.Store(&s)
}

func (r *rig) get(uri string, header ...string) *http.Response {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodGet, uri, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.p.ServeHTTP(w, req)
	return w.Result()
}

// status reads a token's status as a stranger would.
func (r *rig) status(ref statuslist.Reference) statuslist.Status {
	r.t.Helper()
	res := r.get(ref.URI)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 {
		r.t.Fatalf("%s: %d %s", ref.URI, res.StatusCode, body)
	}
	tok, err := statuslist.Parse(body, statuslist.Check{Subject: ref.URI, Issuer: issuer, Now: r.clock().Unix(), Key: func(string) *jose.Key { return r.signer.Key() }})
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := tok.List.Get(ref.Index)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestStatuses(t *testing.T) {
	r := newRig(t)
	held := r.mint(1, 600)
	gone := r.mint(2, 600, func(k *ledger.TokenRow) { k.Subject = "eve" })
	wait := r.mint(3, 600, func(k *ledger.TokenRow) { k.Subject = "bob" })
	dead := r.mint(4, 600, func(k *ledger.TokenRow) { k.State = mintmark.StateRevoked })
	other := r.mint(70_000, 600, func(k *ledger.TokenRow) { k.Subject = "eve" }) // next block
	// A claim of that name that a policy made names no place of ours.
	r.mint(5, 600, func(k *ledger.TokenRow) {
		elsewhere := statuslist.Reference{Index: held.Index, URI: "https://other.example/1"}
		k.Subject, k.Claims = "eve", json.RawMessage(`{"status":`+string(elsewhere.Claim())+`}`)
	})
	r.mint(6, 600, func(k *ledger.TokenRow) { k.Subject, k.Claims = "eve", json.RawMessage(`{"status":"gold"}`) })
	for _, ref := range []statuslist.Reference{held, gone, wait} {
		if s := r.status(ref); s != statuslist.Valid {
			t.Errorf("before: %v", s)
		}
	}
	if s := r.status(dead); s != statuslist.Invalid {
		t.Errorf("by its own state: %v", s)
	}
	r.commit(
		mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "eve"}},
		mintmark.Revocation{ID: "rev_2", Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Subject: "bob"}})
	if s := r.status(gone); s != statuslist.Valid {
		t.Errorf("within the debounce: %v, want what was kept", s)
	}
	r.now.Add(1000)
	want := map[statuslist.Reference]statuslist.Status{held: statuslist.Valid, gone: statuslist.Invalid, wait: statuslist.Suspended, other: statuslist.Invalid}
	for ref, s := range want {
		if got := r.status(ref); got != s {
			t.Errorf("after: %+v is %v, want %v", ref, got, s)
		}
	}
	s := *r.snap.Load()
	s.Revoked.Restore("rev_2")
	s.Seq++
	r.snap.Store(&s)
	r.now.Add(1000)
	if got := r.status(wait); got != statuslist.Valid {
		t.Errorf("restored: %v", got)
	}
}

// However often it is asked, a pass is made once for a state, and asked for by many
// at once it is made once.
func TestPasses(t *testing.T) {
	r := newRig(t)
	refs := []statuslist.Reference{r.mint(1, 600), r.mint(70_000, 600)}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { r.status(refs[i%2]) })
	}
	wg.Wait()
	if n := r.reads.Load(); n != 1 {
		t.Errorf("%d passes, want 1", n)
	}
	r.commit(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "x"}})
	r.now.Add(1000)
	r.status(refs[0])
	r.status(refs[1])
	if n := r.reads.Load(); n != 2 {
		t.Errorf("%d passes after a row, want 2", n)
	}
	r.now.Add(int64(statusprovider.TTL / time.Millisecond))
	r.status(refs[0])
	if n := r.reads.Load(); n != 3 {
		t.Errorf("%d passes after the TTL, want 3", n)
	}
}

func TestPages(t *testing.T) {
	r := newRig(t)
	var refs []statuslist.Reference
	for seq := range uint64(2500) {
		refs = append(refs, r.mint(seq+1, 600, func(k *ledger.TokenRow) {
			if seq%2 == 0 {
				k.State = mintmark.StateRevoked
			}
		}))
	}
	for i, ref := range refs {
		if got := r.status(ref); (got == statuslist.Invalid) != (i%2 == 0) {
			t.Fatalf("token %d: %v", i, got)
		}
	}
	if n := r.reads.Load(); n != 3 {
		t.Errorf("%d pages, want 3", n)
	}
}

func TestHTTP(t *testing.T) {
	r := newRig(t)
	ref := r.mint(1, 600)
	res := r.get(ref.URI, "Accept", "application/statuslist+jwt")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/statuslist+jwt" || res.Header.Get("Cache-Control") != "public, max-age=60" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	plain, _ := io.ReadAll(res.Body)
	etag := res.Header.Get("ETag")
	if res := r.get(ref.URI, "If-None-Match", etag); res.StatusCode != http.StatusNotModified || res.Header.Get("ETag") != etag {
		t.Errorf("unchanged: %d", res.StatusCode)
	}
	res = r.get(ref.URI, "Accept-Encoding", "br;q=1, gzip;q=0.5")
	z, err := gzip.NewReader(res.Body)
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("ETag") == etag {
		t.Fatalf("gzip: %v %v", err, res.Header)
	}
	if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain) {
		t.Errorf("gzip: %v", err)
	}
	if res := r.get(ref.URI, "Accept-Encoding", "gzip;q=0"); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip although refused")
	}
	place, _ := statuslist.ParsePath(ref.URI[len(issuer+"/status/"):])
	far, over, unborn, unknown := place, place, place, place
	far.Bucket += 40
	over.Bucket = r.clock().Unix()/statuslist.Bucket - 1
	unborn.Block = 10
	unknown.Release = "shop/v9"
	for name, c := range map[string]struct {
		uri, accept string
		want        int
	}{
		"in CBOR":         {ref.URI, "application/statuslist+cwt", 406},
		"in anything":     {ref.URI, "text/html, */*;q=0.1", 200},
		"in the past":     {ref.URI + "?time=1686925000", "", 501},
		"too far ahead":   {r.layout.URI(far), "", 404},
		"all expired":     {r.layout.URI(over), "", 404},
		"not yet issued":  {r.layout.URI(unborn), "", 404},
		"unknown release": {r.layout.URI(unknown), "", 404},
		"no list":         {issuer + "/status/shop/v1/zero", "", 404},
	} {
		h := []string{}
		if c.accept != "" {
			h = []string{"Accept", c.accept}
		}
		if res := r.get(c.uri, h...); res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, c.want)
		}
	}
	// Later blocks are lists already: whoever is issued into one meets no 404.
	next := place
	next.Block = 2
	if res := r.get(r.layout.URI(next)); res.StatusCode != 200 {
		t.Errorf("a block without tokens: %d", res.StatusCode)
	}
	// The end of the hour is the end of the list.
	r.now.Store(place.Ends() * 1000)
	if res := r.get(ref.URI); res.StatusCode != 404 {
		t.Errorf("after its end: %d", res.StatusCode)
	}
}

// A ledger that fails is 503, never a list in which all holds.
func TestUnavailable(t *testing.T) {
	r := newRig(t)
	ref := r.mint(1, 600)
	r.fail.Store(true)
	if res := r.get(ref.URI); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d", res.StatusCode)
	}
	r.fail.Store(false)
	if s := r.status(ref); s != statuslist.Valid {
		t.Error(s)
	}
}

func BenchmarkPass(b *testing.B) {
	r := newRig(b)
	for seq := range uint64(60_000) {
		r.mint(seq+1, 600+int64(seq%600), func(k *ledger.TokenRow) {
			if seq%10 == 0 {
				k.State = mintmark.StateRevoked
			}
		})
	}
	rows, _ := r.Listed(b.Context(), "shop/v1", 0, 1<<40, "", 1<<30)
	r.rows = nil
	ref := r.layout.Reference("shop/v1", rows[0].Expires, 1)
	var res *http.Response
	p := statusprovider.New(statusprovider.Config{
		Issuer: issuer, Layout: r.layout, Store: &fixed{rows: rows}, State: r, Judge: r, Issued: func() uint64 { return 200_000 }, Now: r.clock, Log: slog.New(slog.DiscardHandler),
	}).Handler("/status/")
	b.ResetTimer()
	for b.Loop() {
		r.commit()
		r.now.Add(1000)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, ref.URI, nil))
		res = w.Result()
	}
	body, _ := io.ReadAll(res.Body)
	b.ReportMetric(float64(len(rows)), "tokens/op")
	b.ReportMetric(float64(len(body)), "bytes/list")
}

// fixed pages through rows without looking.
type fixed struct {
	rows []ledger.TokenRow
	at   int
}

func (f *fixed) Listed(_ context.Context, _ mintmark.ReleaseID, _, _ int64, after mintmark.TokenID, limit int) ([]ledger.TokenRow, error) {
	if after == "" {
		f.at = 0
	}
	n := min(limit, len(f.rows)-f.at)
	f.at += n
	return f.rows[f.at-n : f.at], nil
}
