package verifier

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// statusFor bounds how long an answer about a token's status is remembered, in
// seconds, whatever control says.
const statusFor = 60

// status asks control what the issuer's status list says of a token that is right
// in all else (draft-ietf-oauth-status-list-18 §8.3), and returns until which Unix
// second the answer holds; 0 when the token refers to no list. It is asked when the
// token is first seen, and again when the answer has aged: what is cached in between
// costs no question. Without an answer the state is unknown.
func (v *Verifier) status(ctx context.Context, i *epoch.IssuerEntry, claims *jose.Claims, now time.Time) (int64, mintmark.Code) {
	claim, _ := claims.Lookup("status")
	ref, ok, err := statuslist.ParseClaim(claim)
	if err != nil {
		return 0, mintmark.CodeMalformed
	}
	if !ok {
		return 0, mintmark.CodeNone
	}
	ref.URI = strings.Clone(ref.URI) // not a view of the token
	sum := sha256.Sum256([]byte("status\n" + i.Name + "\n" + strconv.FormatUint(ref.Index, 10) + "\n" + ref.URI))
	reply, code := v.pull.token(ctx, sum, bus.PullRequest{V: 1, Kind: mintmark.KindForeign, Issuer: i.Name, Status: &ref}, now)
	if code != mintmark.CodeNone {
		return 0, code
	}
	return now.Unix() + min(max(reply.TTL, 1), statusFor), mintmark.CodeNone
}
