package mintmark

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDsSortByTimeAndReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(0, 1<<47).Draw(t, "a")
		b := rapid.Int64Range(0, 1<<47).Draw(t, "b")
		var r1, r2 [10]byte
		copy(r1[:], rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "r1"))
		copy(r2[:], rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "r2"))
		x, y := NewID(PrefixToken, time.UnixMilli(a), r1), NewID(PrefixToken, time.UnixMilli(b), r2)
		if a < b && x >= y || a > b && x <= y {
			t.Fatalf("%d → %s and %d → %s do not sort by time", a, x, b, y)
		}
		got, err := IDTime(x)
		if err != nil || got.UnixMilli() != a {
			t.Fatalf("IDTime(%s) = %v, %v; want %d", x, got, err, a)
		}
	})
	for _, bad := range []string{"", "tok", "tok_", "tok_short", "tok_" + strings.Repeat("!", 26)} {
		if _, err := IDTime(bad); err == nil {
			t.Errorf("IDTime(%q) accepted", bad)
		}
	}
}

func TestGatewayIDForm(t *testing.T) {
	for _, ok := range []GatewayID{"a", "gw-1", "eu-west-1a"} {
		if err := CheckGatewayID(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []GatewayID{"", "1a", "-a", "A", "a.b", "a>b", "a*", GatewayID(strings.Repeat("a", 64))} {
		if CheckGatewayID(bad) == nil {
			t.Errorf("%q accepted: it would escape into bus subjects", bad)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret("hunter2")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "in", struct{ S Secret }{s})
	j, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %q %d %x", s, s, s, s, s, s, s), string(j), log.String()} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
			t.Errorf("printed: %s", out)
		}
	}
	if !s.Equal("hunter2") || s.Equal("hunter") || s.Reveal() != "hunter2" || s.IsZero() {
		t.Error("Equal, Reveal or IsZero is wrong")
	}
}

func TestSelectorTextRoundTrips(t *testing.T) {
	value := rapid.StringMatching(`[ -~é]{1,30}`).Filter(func(s string) bool { return strings.TrimSpace(s) == s })
	rapid.Check(t, func(t *rapid.T) {
		want := Selector{
			Subject: value.Draw(t, "sub"),
			Client:  ClientID(value.Draw(t, "client")),
			Scope:   value.Draw(t, "scope"),
			Issuer:  value.Draw(t, "issuer"),
		}
		if rapid.Bool().Draw(t, "window") {
			want.IssuedFrom = time.Unix(rapid.Int64Range(1, 1<<32).Draw(t, "from"), 0).UTC()
			want.IssuedTo = want.IssuedFrom.Add(time.Hour)
		}
		got, err := ParseSelector(want.String())
		if err != nil || got != want {
			t.Fatalf("%q → %+v, %v; want %+v", want.String(), got, err, want)
		}
	})
}

func TestSelectorRefusesMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no condition",
		" , ":                                 "no condition",
		"everything":                          "want name=value",
		"sub=alice":                           "unknown condition",
		"subject=":                            "want subject=value",
		"subject=a,subject=b":                 "given twice",
		"release=v2":                          "want service/name",
		"issued=2026-01-01":                   "want a time",
		"issued<=yesterday":                   "want a time",
		"issued<2026-01-01":                   "issued>=",
		"subject=%zz":                         "percent-encoding",
		"subject=" + strings.Repeat("a", 600): "512 bytes",
		"issued>=2026-02-01T00:00:00Z,issued<=2026-01-01T00:00:00Z": "before",
	} {
		_, err := ParseSelector(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSelector(%.40q) = %v; want %q in it", text, err, want)
		}
	}
}

func TestSelectorBroad(t *testing.T) {
	if !(Selector{Release: "a/b"}).Broad() || (Selector{Release: "a/b", Subject: "s"}).Broad() {
		t.Error("a selector is broad when nothing in it narrows to one token, family, grant or subject")
	}
}

func FuzzParseSelector(f *testing.F) {
	f.Add("release=orders/v2,scope=orders.admin,issued<=2026-01-31T14:03:00Z")
	f.Add("subject=a%2Cb")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || again != s {
			t.Fatalf("%q → %+v → %q → %+v, %v", text, s, s.String(), again, err)
		}
	})
}

func TestNamesOnTheWireAreStable(t *testing.T) {
	b, err := json.Marshal([]any{
		KindAccessJWT, KindOpaque, KindRefresh, KindAPIKey, KindForeign, KindInternal, KindID,
		StateIssued, StateActive, StateSuspended, StateExpired, StateRevoked, StateSuperseded,
		Keep, Map, Reissue, Revoke, ActionRevoke, ActionSuspend, Strict, Static,
		Staleness{DefaultStaleness},
	})
	want := `["jwt","opaque","refresh","apikey","foreign","internal","id","issued","active","suspended","expired","revoked","superseded","keep","map","reissue","revoke","revoke","suspend","strict","static","30s"]`
	if err != nil || string(b) != want {
		t.Errorf("names changed:\n got %s %v\nwant %s", b, err, want)
	}
	for _, text := range []string{"", "0s", "-1s", "48h", "soon"} {
		var s Staleness
		if s.UnmarshalText([]byte(text)) == nil {
			t.Errorf("staleness %q accepted as %v", text, s)
		}
	}
	var k TokenKind
	var st TokenState
	var d Disposition
	var a Action
	for _, u := range []interface{ UnmarshalText([]byte) error }{&k, &st, &d, &a} {
		if u.UnmarshalText([]byte("nonsense")) == nil {
			t.Errorf("%T accepted nonsense", u)
		}
	}
}

func TestSortedSet(t *testing.T) {
	if got := SortedSet([]string{"b", "", "a", "b"}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}

func TestTokenExpiry(t *testing.T) {
	tok := Token{Expires: 1000}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	if tok.ExpiredAt(at(999), 0) || !tok.ExpiredAt(at(1000), 0) || tok.ExpiredAt(at(1004), 5*time.Second) || !tok.ExpiredAt(at(1005), 5*time.Second) {
		t.Error("exp is the first moment at which the token must not be accepted (RFC 7519 §4.1.4)")
	}
	if (&Token{}).ExpiredAt(at(1<<40), 0) {
		t.Error("an API key without expiry expired")
	}
}

func TestStatusOfCodes(t *testing.T) {
	if CodeStateUnknown.Status() != 503 || Code("brand_new").Status() != 401 || CodeNone.Status() != 200 || CodeScope.Status() != 403 {
		t.Error("a refusal got the wrong status")
	}
}
