package gateway

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/verifier"
)

// lateKey verifies nothing below a state: a key of another issuer that control
// fetches because this gateway asked.
type lateKey struct {
	*fakeVerifier
	from uint64
	ask  func() // called for each verification that failed for it
}

func (v lateKey) Verify(ctx context.Context, s *epoch.Snapshot, scheme admission.Scheme, value string, now time.Time, out *verifier.Verified) mintmark.Code {
	if s.Seq < v.from {
		out.AsOf = v.from
		v.ask()
		return mintmark.CodeKeyUnknown
	}
	return v.fakeVerifier.Verify(ctx, s, scheme, value, now, out)
}

func TestAKeyThatCameMeanwhileIsNotRefused(t *testing.T) {
	up := server(t, func(http.ResponseWriter, *http.Request) {})
	svc := service(up)
	var r *rig
	asked := 0
	r = newRig(t, svc, func(c *Config, _ *arrival.ServerConfig) {
		c.Verifier = lateKey{c.Verifier.(*fakeVerifier), 8, func() { asked++; r.put(svc, 8) }}
	})
	r.state.catchUp = func() error { return nil }
	if resp, body := r.get("/x", "good"); resp.StatusCode != 200 || asked != 1 {
		t.Errorf("%d %s after %d questions", resp.StatusCode, body, asked)
	}
}
