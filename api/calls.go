package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
)

// Each method below is one operation; the OpenAPI document describes them.

// Status returns control's state at a glance.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, "GET", "/v1/status", nil)
}

// Verify runs the checks that can run while serving.
func (c *Client) Verify(ctx context.Context) (*Verification, error) {
	return call[Verification](ctx, c, "POST", "/v1/verify", nil)
}

// Tokens lists a page of tokens.
func (c *Client) Tokens(ctx context.Context, q TokenQuery) (*TokenPage, error) {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("selector", q.Selector)
	set("state", strings.Join(q.States, ","))
	set("kind", strings.Join(q.Kinds, ","))
	set("after", string(q.After))
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return call[TokenPage](ctx, c, "GET", query("/v1/tokens", v), nil)
}

// Token returns one token.
func (c *Client) Token(ctx context.Context, id mintmark.TokenID) (*Token, error) {
	return call[Token](ctx, c, "GET", path("tokens", string(id)), nil)
}

// Trace returns a token's life.
func (c *Client) Trace(ctx context.Context, id mintmark.TokenID) (*Trace, error) {
	return call[Trace](ctx, c, "GET", path("tokens", string(id), "trace"), nil)
}

// Issue makes a token.
func (c *Client) Issue(ctx context.Context, r IssueRequest) (*Issued, error) {
	return call[Issued](ctx, c, "POST", "/v1/tokens", r)
}

// Revoke revokes or suspends tokens, or says what it would do.
func (c *Client) Revoke(ctx context.Context, r RevokeRequest) (*RevokeAnswer, error) {
	return call[RevokeAnswer](ctx, c, "POST", "/v1/revocations", r)
}

// Restore ends a suspension.
func (c *Client) Restore(ctx context.Context, r RestoreRequest) (*RevokeAnswer, error) {
	return call[RevokeAnswer](ctx, c, "POST", "/v1/restores", r)
}

// Revocations lists a page of the facts in force.
func (c *Client) Revocations(ctx context.Context, q RevocationQuery) (*Revocations, error) {
	v := after1(string(q.After))
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Counts {
		v.Set("counts", "true")
	}
	return call[Revocations](ctx, c, "GET", query("/v1/revocations", v), nil)
}

// Revocation returns one revocation, in force or pending.
func (c *Client) Revocation(ctx context.Context, id mintmark.RevocationID) (*RevocationDetail, error) {
	return call[RevocationDetail](ctx, c, "GET", path("revocations", string(id)), nil)
}

// PendingRevocations lists those that wait or waited for a second person.
func (c *Client) PendingRevocations(ctx context.Context) (*PendingRevocations, error) {
	return call[PendingRevocations](ctx, c, "GET", "/v1/pending-revocations", nil)
}

// ApproveRevocation carries out a pending revocation, as the second person.
func (c *Client) ApproveRevocation(ctx context.Context, id mintmark.RevocationID, r DecideRequest) (*RevokeAnswer, error) {
	return call[RevokeAnswer](ctx, c, "POST", path("revocations", string(id))+":approve", r)
}

// DenyRevocation ends a pending revocation without effect.
func (c *Client) DenyRevocation(ctx context.Context, id mintmark.RevocationID, r DecideRequest) (*PendingRevocation, error) {
	return call[PendingRevocation](ctx, c, "POST", path("revocations", string(id))+":deny", r)
}

// APIKeys lists a page of API keys.
func (c *Client) APIKeys(ctx context.Context, after mintmark.TokenID) (*TokenPage, error) {
	return call[TokenPage](ctx, c, "GET", query("/v1/api-keys", after1(string(after))), nil)
}

// CreateAPIKey makes an API key.
func (c *Client) CreateAPIKey(ctx context.Context, r APIKeyRequest) (*Issued, error) {
	return call[Issued](ctx, c, "POST", "/v1/api-keys", r)
}

// RotateAPIKey replaces an API key.
func (c *Client) RotateAPIKey(ctx context.Context, id mintmark.TokenID, r RotateRequest) (*Issued, error) {
	return call[Issued](ctx, c, "POST", path("api-keys", string(id))+":rotate", r)
}

// Keys lists the signing keys.
func (c *Client) Keys(ctx context.Context) (*Keys, error) {
	return call[Keys](ctx, c, "GET", "/v1/keys", nil)
}

// RotateKey makes a new signing key; it signs once every gateway knows it.
func (c *Client) RotateKey(ctx context.Context, r KeyRequest) (*KeyAnswer, error) {
	return call[KeyAnswer](ctx, c, "POST", "/v1/keys:rotate", r)
}

// RetireKey takes a key out of the published set.
func (c *Client) RetireKey(ctx context.Context, kid string, r KeyRequest) (*KeyAnswer, error) {
	return call[KeyAnswer](ctx, c, "POST", path("keys", kid)+":retire", r)
}

// KillKey refuses every token that the key signed, now.
func (c *Client) KillKey(ctx context.Context, kid string, r KeyRequest) (*KeyAnswer, error) {
	return call[KeyAnswer](ctx, c, "POST", path("keys", kid)+":kill", r)
}

// Clients lists the OAuth clients.
func (c *Client) Clients(ctx context.Context) (*Clients, error) {
	return call[Clients](ctx, c, "GET", "/v1/clients", nil)
}

// Client returns one OAuth client.
func (c *Client) Client(ctx context.Context, id mintmark.ClientID) (*OAuthClient, error) {
	return call[OAuthClient](ctx, c, "GET", path("clients", string(id)), nil)
}

// CreateClient makes an OAuth client.
func (c *Client) CreateClient(ctx context.Context, r OAuthClient) (*ClientAnswer, error) {
	return call[ClientAnswer](ctx, c, "POST", "/v1/clients", r)
}

// RotateClientSecret gives a client a new secret.
func (c *Client) RotateClientSecret(ctx context.Context, id mintmark.ClientID, r RotateRequest) (*ClientAnswer, error) {
	return call[ClientAnswer](ctx, c, "POST", path("clients", string(id))+":rotate-secret", r)
}

// DisableClient refuses the client at every endpoint and revokes its tokens.
func (c *Client) DisableClient(ctx context.Context, id mintmark.ClientID, r DisableRequest) (*ClientAnswer, error) {
	return call[ClientAnswer](ctx, c, "POST", path("clients", string(id))+":disable", r)
}

// Users lists the local users.
func (c *Client) Users(ctx context.Context) (*Users, error) {
	return call[Users](ctx, c, "GET", "/v1/users", nil)
}

// PutUser makes or changes a local user.
func (c *Client) PutUser(ctx context.Context, r UserRequest) (*User, error) {
	return call[User](ctx, c, "POST", "/v1/users", r)
}

// Releases lists the releases of a service, or of all when it is empty.
func (c *Client) Releases(ctx context.Context, service string) (*Releases, error) {
	v := url.Values{}
	if service != "" {
		v.Set("service", service)
	}
	return call[Releases](ctx, c, "GET", query("/v1/releases", v), nil)
}

// Release returns one release.
func (c *Client) Release(ctx context.Context, id mintmark.ReleaseID) (*Release, error) {
	return call[Release](ctx, c, "GET", path("releases", id.Service(), id.Name()), nil)
}

// PlanRollout says what a rollout and its rollback would mean; nothing changes.
// With resources it says so as if they were applied.
func (c *Client) PlanRollout(ctx context.Context, service, candidate string, resources ...File) (*Plan, error) {
	return call[Plan](ctx, c, "POST", "/v1/rollouts:plan", RolloutRequest{Service: service, Candidate: candidate, Resources: resources})
}

// Stranded lists the tokens of a rollout's candidate that the stable release would
// not go on with.
func (c *Client) Stranded(ctx context.Context, id mintmark.RolloutID) (*Stranded, error) {
	return call[Stranded](ctx, c, "GET", path("rollouts", string(id), "stranded"), nil)
}

// RolloutPlan is PlanRollout of a rollout that was started.
func (c *Client) RolloutPlan(ctx context.Context, id mintmark.RolloutID) (*Plan, error) {
	return call[Plan](ctx, c, "GET", path("rollouts", string(id), "plan"), nil)
}

// StartRollout starts a rollout.
func (c *Client) StartRollout(ctx context.Context, r RolloutRequest) (*RolloutAnswer, error) {
	return call[RolloutAnswer](ctx, c, "POST", "/v1/rollouts", r)
}

// Rollouts lists rollouts, newest first.
func (c *Client) Rollouts(ctx context.Context) (*Rollouts, error) {
	return call[Rollouts](ctx, c, "GET", "/v1/rollouts", nil)
}

// Rollout returns one rollout; a service's name stands for its open, else its
// latest one.
func (c *Client) Rollout(ctx context.Context, id mintmark.RolloutID) (*Rollout, error) {
	return call[Rollout](ctx, c, "GET", path("rollouts", string(id)), nil)
}

// StepRollout does weight, pause, resume, approve, promote, finalise, rollback, abort
// or undo.
func (c *Client) StepRollout(ctx context.Context, id mintmark.RolloutID, verb string, r StepRequest) (*RolloutAnswer, error) {
	return call[RolloutAnswer](ctx, c, "POST", path("rollouts", string(id))+":"+url.PathEscape(verb), r)
}

// RolloutGate returns the verdict about a rollout, waiting up to a duration for one
// that is not wait; it is at most a minute.
func (c *Client) RolloutGate(ctx context.Context, id mintmark.RolloutID, wait time.Duration) (*Gate, error) {
	v := url.Values{}
	if wait > 0 {
		v.Set("wait", wait.String())
	}
	return call[Gate](ctx, c, "GET", query(path("rollouts", string(id), "gate"), v), nil)
}

// RolloutEvents calls each with the name and data of everything that happens to a
// rollout, until the context ends or each returns an error, which it returns:
// "rollout.written" with an Event, "gate" with a Gate.
func (c *Client) RolloutEvents(ctx context.Context, id mintmark.RolloutID, each func(name string, data []byte) error) error {
	return c.stream(ctx, path("rollouts", string(id), "events"), each)
}

// Gateways lists the members.
func (c *Client) Gateways(ctx context.Context) (*Gateways, error) {
	return call[Gateways](ctx, c, "GET", "/v1/gateways", nil)
}

// RemoveGateway cuts a gateway off at once and refuses its credential. It may decide
// by what it has until its budgets are over.
func (c *Client) RemoveGateway(ctx context.Context, id mintmark.GatewayID, r StepRequest) (*Gateway, error) {
	return call[Gateway](ctx, c, "POST", path("gateways", string(id))+":remove", r)
}

// JoinToken makes a one-time token with which a gateway joins.
func (c *Client) JoinToken(ctx context.Context, r JoinTokenRequest) (*JoinToken, error) {
	return call[JoinToken](ctx, c, "POST", "/v1/join-tokens", r)
}

// Join presents a one-time token.
func (c *Client) Join(ctx context.Context, token mintmark.Secret, r JoinRequest) (*JoinReply, error) {
	res, err := c.send(ctx, "POST", "/v1/join", r, token)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out := new(JoinReply)
	return out, read(ctx, res, out, true)
}

// Apply applies resources, or says what it would do.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (*ApplyAnswer, error) {
	return call[ApplyAnswer](ctx, c, "POST", "/v1/resources:apply", r)
}

// Diff is Apply as a dry run.
func (c *Client) Diff(ctx context.Context, r ApplyRequest) (*ApplyAnswer, error) {
	return call[ApplyAnswer](ctx, c, "POST", "/v1/resources:diff", r)
}

// Export returns all resources.
func (c *Client) Export(ctx context.Context) (*Export, error) {
	return call[Export](ctx, c, "GET", "/v1/resources", nil)
}

// Schema returns the JSON Schema of a kind of resource, or of all when it is empty.
func (c *Client) Schema(ctx context.Context, kind string) (json.RawMessage, error) {
	p := "/v1/schemas"
	if kind != "" {
		p = path("schemas", kind)
	}
	var raw json.RawMessage
	return raw, c.Do(ctx, "GET", p, nil, &raw)
}

// Receipts lists receipts, newest first.
func (c *Client) Receipts(ctx context.Context) (*Receipts, error) {
	return call[Receipts](ctx, c, "GET", "/v1/receipts", nil)
}

// Receipt returns one receipt; a pending one completes by itself later.
func (c *Client) Receipt(ctx context.Context, id mintmark.ReceiptID) (*mintmark.Receipt, error) {
	return call[mintmark.Receipt](ctx, c, "GET", path("receipts", string(id)), nil)
}

// Events calls each for every event after a ledger number, in order, until the
// context ends, each returns an error (which it returns), or control breaks off.
func (c *Client) Events(ctx context.Context, after uint64, each func(mintmark.Event) error) error {
	return c.stream(ctx, "/v1/events?after="+strconv.FormatUint(after, 10), func(_ string, data []byte) error {
		var e mintmark.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return NewProblem(CodeUnintelligble, "event: "+err.Error(), "")
		}
		return each(e)
	})
}

// stream reads server-sent events (WHATWG HTML §9.2): each gets the name and the
// data of every one.
func (c *Client) stream(ctx context.Context, path string, each func(name string, data []byte) error) error {
	res, err := c.send(ctx, "GET", path, nil, c.token)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return read(ctx, res, nil, false)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 8<<20)
	var name string
	var data strings.Builder
	for in.Scan() {
		line := in.Text()
		if v, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(v, " "))
			continue
		}
		if v, ok := strings.CutPrefix(line, "event:"); ok {
			name = strings.TrimPrefix(v, " ")
			continue
		}
		if line != "" {
			continue
		}
		if data.Len() > 0 {
			if err := each(name, []byte(data.String())); err != nil {
				return err
			}
		}
		name = ""
		data.Reset()
	}
	if ctx.Err() != nil {
		return nil
	}
	return NewProblem(CodeUnreachable, fmt.Sprintf("control at %s ended the stream", c.base.Host), "call again after the last event's number")
}

func after1(after string) url.Values {
	v := url.Values{}
	if after != "" {
		v.Set("after", after)
	}
	return v
}

func query(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
