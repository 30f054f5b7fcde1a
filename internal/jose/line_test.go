package jose

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

// What is written of a line is read again, whatever its tokens have in common.
func TestLineIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := func(label string, values ...string) string {
			return rapid.SampledFrom(append(values, "")).Draw(t, label)
		}
		tok := &mintmark.Token{}
		for n := range rapid.IntRange(0, mintmark.MaxVia).Draw(t, "line") {
			next := &mintmark.Token{
				ID: mintmark.TokenID(few("id", "tok_1", "tok_2") + "x"), Kind: rapid.SampledFrom([]mintmark.TokenKind{mintmark.KindAccessJWT, mintmark.KindForeign}).Draw(t, "kind"),
				Subject: few("sub", "alice", `b"ö\b`), Client: mintmark.ClientID(few("client", "shop", "broker")), Grant: mintmark.GrantID(few("grant", "grt_1")),
				Family: mintmark.FamilyID(few("family", "fam_1")), Scopes: mintmark.SortedSet([]string{few("scope", "read"), few("scope 2", "write")}),
				Audience: mintmark.SortedSet([]string{few("audience", "api"), few("audience 2", "with space")}),
				Mark:     mintmark.Mark{Release: mintmark.ReleaseID(few("release", "a/v1", "b/v1")), Key: few("key", "k1", "k2"), Seq: uint64(n) * rapid.Uint64Max(1<<60).Draw(t, "seq")},
			}
			if n > 0 {
				next.Via, next.Origins = mintmark.Descend(tok)
			}
			if next.Kind == mintmark.KindForeign {
				next.Issuer, next.IssuedAt = few("iss", "https://a")+"/", rapid.Int64Range(0, 1<<40).Draw(t, "iat")
			}
			tok = next
		}
		tok.Kind, tok.Issuer = mintmark.KindAccessJWT, "https://as"
		via := ""
		for i, id := range tok.Via {
			if i > 0 {
				via += " "
			}
			via += string(id)
		}
		payload, err := json.Marshal(map[string]any{
			"iss": tok.Issuer, "sub": tok.Subject, "client_id": tok.Client, "aud": tok.Audience, "scope": tok.Scopes,
			ClaimMark: map[string]any{"release": tok.Mark.Release, "seq": tok.Mark.Seq, "grt": tok.Grant, "fam": tok.Family, "via": via, "ori": Line(tok)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(tok.Via) == 0 { // nothing is written then
			return
		}
		c, err := ParseClaims(string(payload), Names{})
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		got := c.Token(mintmark.KindAccessJWT, tok.Mark.Key)
		if !reflect.DeepEqual(got.Via, tok.Via) || len(got.Origins) != len(tok.Origins) {
			t.Fatalf("%v of %d, want %v", got.Via, len(got.Origins), tok.Via)
		}
		for i := range got.Origins {
			is, _ := json.Marshal(got.Origins[i])
			want, _ := json.Marshal(tok.Origins[i])
			if string(is) != string(want) {
				t.Fatalf("%d: %s, want %s of %s", i, is, want, payload)
			}
		}
		if far := c.Token(mintmark.KindForeign, ""); far.Via != nil || far.Origins != nil {
			t.Fatal("the claim is believed of another issuer's token")
		}
	})
}

func TestLineIsBoundedAndTyped(t *testing.T) {
	for name, ori := range map[string]string{
		"no array":         `{}`,
		"no object":        `["tok_1"]`,
		"a number's text":  `[{"seq":"7"}]`,
		"a text's number":  `[{"rel":7}]`,
		"control":          `[{"sub":"a\nb"}]`,
		"an object in aud": `[{"aud":[{}]}]`,
		"more than eight":  `[{},{},{},{},{},{},{},{},{}]`,
	} {
		if _, err := ParseClaims(`{"mintmark":{"via":"tok_1","ori":`+ori+`}}`, Names{}); err == nil {
			t.Errorf("%s: %s is accepted", name, ori)
		}
	}
	// Old tokens have ids alone; unknown members and a line without ids say nothing.
	for _, mark := range []string{`{"via":"tok_1 tok_2"}`, `{"via":"tok_1","ori":[{"new":{"er":1}}]}`, `{"ori":[{"rel":"a/v1"}]}`} {
		c, err := ParseClaims(`{"mintmark":`+mark+`}`, Names{})
		if err != nil {
			t.Fatalf("%s: %v", mark, err)
		}
		if tok := c.Token(mintmark.KindAccessJWT, "k"); len(tok.Origins) > len(tok.Via) {
			t.Errorf("%s: %+v", mark, tok)
		}
	}
}
