package verifier

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// oracle answers questions about statuses.
type oracle struct {
	asked []bus.PullRequest
	reply bus.PullReply
	err   error
}

func (o *oracle) Pull(_ context.Context, r bus.PullRequest) (bus.PullReply, error) {
	o.asked = append(o.asked, r)
	return o.reply, o.err
}

func (o *oracle) RefreshKey(context.Context, bus.KeyRequest) (bus.KeyReply, error) {
	return bus.KeyReply{}, errors.New("not asked for")
}

func TestForeignStatus(t *testing.T) {
	m := newMint(t, "c1")
	issuer := epoch.Issuer{Name: "corp", Issuer: corp, Keys: []epoch.Key{m.key}, StatusList: true}
	s := snapshot(t, nil, issuer)
	with := func(status any) string {
		c := claims(corp)
		c["jti"] = "j1"
		if status != nil {
			c["status"] = status
		}
		return m.sign(t, "JWT", c)
	}
	place := map[string]any{"status_list": map[string]any{"idx": 7, "uri": "https://lists.example/1"}}
	ask := func(v *Verifier, token string, at time.Time) mintmark.Code {
		var out Verified
		return v.Verify(context.Background(), s, admission.SchemeBearer, token, at, &out)
	}

	t.Run("valid", func(t *testing.T) {
		o := &oracle{reply: bus.PullReply{TTL: 30}}
		v, token := New(Config{Puller: o}), with(place)
		for range 3 {
			if code := ask(v, token, at); code != mintmark.CodeNone {
				t.Fatal(code)
			}
		}
		if len(o.asked) != 1 || o.asked[0].Status.Index != 7 || o.asked[0].Status.URI != "https://lists.example/1" || o.asked[0].Issuer != "corp" {
			t.Errorf("asked %+v", o.asked)
		}
		// Once the answer has aged it is asked again; then it is revoked.
		o.reply = bus.PullReply{Code: mintmark.CodeRevoked, TTL: 30}
		if code := ask(v, token, at.Add(29*time.Second)); code != mintmark.CodeNone {
			t.Errorf("within its time: %s", code)
		}
		if code := ask(v, token, at.Add(31*time.Second)); code != mintmark.CodeRevoked || len(o.asked) != 2 {
			t.Errorf("after its time: %s, asked %d times", code, len(o.asked))
		}
	})
	for name, c := range map[string]struct {
		status any
		reply  bus.PullReply
		err    error
		want   mintmark.Code
		asked  int
	}{
		"suspended":      {place, bus.PullReply{Code: mintmark.CodeSuspended}, nil, mintmark.CodeSuspended, 1},
		"no answer":      {place, bus.PullReply{}, errors.New("down"), mintmark.CodeStateUnknown, 1},
		"not known":      {place, bus.PullReply{Error: "no list"}, nil, mintmark.CodeStateUnknown, 1},
		"no reference":   {nil, bus.PullReply{}, nil, mintmark.CodeNone, 0},
		"other means":    {map[string]any{"oracle": 1}, bus.PullReply{}, nil, mintmark.CodeNone, 0},
		"malformed":      {map[string]any{"status_list": map[string]any{"idx": -1}}, bus.PullReply{}, nil, mintmark.CodeMalformed, 0},
		"not an address": {map[string]any{"status_list": map[string]any{"idx": 1, "uri": "x"}}, bus.PullReply{}, nil, mintmark.CodeMalformed, 0},
	} {
		o := &oracle{reply: c.reply, err: c.err}
		if code := ask(New(Config{Puller: o}), with(c.status), at); code != c.want || len(o.asked) != c.asked {
			t.Errorf("%s: %q, asked %d times; want %q, %d", name, code, len(o.asked), c.want, c.asked)
		}
	}
	// Without the issuer's leave nothing is asked.
	off := issuer
	off.StatusList = false
	s = snapshot(t, nil, off)
	o := &oracle{err: errors.New("down")}
	if code := ask(New(Config{Puller: o}), with(place), at); code != mintmark.CodeNone || len(o.asked) != 0 {
		t.Errorf("off: %q, asked %d times", code, len(o.asked))
	}
}
