package authority

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mintmark/mintmark"
)

// errHookRevokes: the renewal hook said that the family must end.
var errHookRevokes = errors.New("renewal hook: revoke")

// hookAnswer keeps a callout's answer between attempts of one decision: the user
// is asked about once per refresh.
type hookAnswer struct {
	asked bool
	reply hookReply
	err   error
}

// hookReply is what a renewal hook answers with status 200.
type hookReply struct {
	Decision string                     `json:"decision"` // allow, deny, revoke
	Claims   map[string]json.RawMessage `json:"claims,omitempty"`
}

// renew asks the renewal hook, the client's own or the one for all, whether the user is still one, and puts
// refreshed claims into state. deny refuses this refresh, revoke ends the family.
func (a *Authority) renew(ctx context.Context, c *Client, t *mintmark.Token, state *refreshState, kept *hookAnswer) error {
	hook, secret := c.Hook, mintmark.Secret{}
	if hook == nil {
		hook, secret = a.cfg.Renewal, a.cfg.RenewalSecret
	}
	if hook == nil {
		return nil
	}
	if !kept.asked {
		kept.reply, kept.err = a.callHook(ctx, hook, secret, t)
		kept.asked = true
	}
	now := a.d.Now()
	if kept.err != nil {
		a.d.Log.WarnContext(ctx, "renewal hook gave no answer", "client", c.ID, "error", kept.err, "policy", hook.Outage)
		switch hook.Outage {
		case "allow":
			return nil
		case "allow-until":
			if now.Before(time.Unix(state.Validated+hook.OutageSeconds, 0)) {
				return nil
			}
		}
		return refuseWith(http.StatusServiceUnavailable, "temporarily_unavailable", "the user could not be validated")
	}
	switch kept.reply.Decision {
	case "allow":
		state.Validated = now.Unix()
		if kept.reply.Claims != nil {
			state.User = kept.reply.Claims
		}
		return nil
	case "revoke":
		return errHookRevokes
	}
	return errGrant
}

// callHook posts who is refreshing. An answer that isn't one of the three
// decisions is no answer: absence of information never revokes.
func (a *Authority) callHook(ctx context.Context, h *Hook, secret mintmark.Secret, t *mintmark.Token) (hookReply, error) {
	if a.d.Egress == nil {
		return hookReply{}, errors.New("no outbound client")
	}
	timeout := 2 * time.Second
	if h.TimeoutMS > 0 {
		timeout = time.Duration(min(h.TimeoutMS, 10_000)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"subject": t.Subject, "client": t.Client, "grant": t.Grant, "family": t.Family,
		"scopes": t.Scopes, "audience": t.Audience, "auth_time": t.AuthTime,
	})
	if err != nil {
		return hookReply{}, fmt.Errorf("encode question: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return hookReply{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if !secret.IsZero() {
		req.Header.Set("Authorization", "Bearer "+secret.Reveal())
	}
	res, err := a.d.Egress.Do(req)
	if err != nil {
		return hookReply{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return hookReply{}, fmt.Errorf("status %d", res.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return hookReply{}, fmt.Errorf("read answer: %w", err)
	}
	var reply hookReply
	if err := json.Unmarshal(b, &reply); err != nil {
		return hookReply{}, fmt.Errorf("decode answer: %w", err)
	}
	switch reply.Decision {
	case "allow", "deny", "revoke":
		return reply, nil
	}
	return hookReply{}, fmt.Errorf("decision %.40q is not allow, deny or revoke", reply.Decision)
}
