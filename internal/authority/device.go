package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/login"
)

const (
	deviceLifetime = 10 * time.Minute
	deviceInterval = 5 * time.Second
	// userCodeDigits have no vowels and no look-alikes (RFC 8628 §6.1): 8 of them
	// are 34 bits, against which guesses are limited.
	userCodeDigits = "BCDFGHJKLMNPQRSTVWXZ"
)

// deviceDoc is the body of the document device/<id>, found by its user code.
type deviceDoc struct {
	Request  authRequest         `json:"request"`
	Ref      string              `json:"ref"` // user code without the dash
	State    string              `json:"state"`
	Grant    *mintmark.GrantMade `json:"grant,omitempty"`
	Interval int64               `json:"interval"`
	Expires  int64               `json:"expires_at"`
}

// States of a device's code.
const (
	devicePending  = "pending"
	deviceApproved = "approved"
	deviceDenied   = "denied"
	deviceUsed     = "used"
)

// serveDeviceAuthorization answers a device authorization request (RFC 8628 §3.1).
func (a *Authority) serveDeviceAuthorization(w http.ResponseWriter, r *http.Request) {
	ans, err := a.authorizeDevice(w, r)
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, ans)
}

func (a *Authority) authorizeDevice(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	f, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	who, err := a.authenticate(r, f)
	if err != nil {
		return nil, err
	}
	c := who.client
	if !c.May(GrantDevice) {
		return nil, refuse("unauthorized_client", "the client may not use this grant type")
	}
	if c.Public() && !a.mayStart(r) {
		return nil, errStarts
	}
	q := authRequest{Client: c.ID, MaxAge: -1}
	if q.Scopes, err = f.scopes(); err != nil {
		return nil, err
	}
	if !covers(c.Scopes, q.Scopes) {
		return nil, refuse("invalid_scope", "a scope is not allowed to this client")
	}
	if q.Targets, err = f.targets(); err != nil {
		return nil, err
	}
	for _, t := range q.Targets {
		if !c.mayAsk(t) {
			return nil, refuse("invalid_target", "a resource is not allowed to this client")
		}
	}
	value, id, err := a.secret()
	if err != nil {
		return nil, err
	}
	user, err := a.userCode()
	if err != nil {
		return nil, err
	}
	b := put(ledger.DocDevice, id, 0, deviceDoc{
		Request: q, Ref: user, State: devicePending, Interval: int64(deviceInterval / time.Second),
		Expires: a.d.Now().Add(deviceLifetime).Unix(),
	})
	b.Once = who.once
	if _, err := a.d.Ledger.Append(r.Context(), b); err != nil {
		return nil, err
	}
	shown := user[:4] + "-" + user[4:]
	return map[string]any{
		"device_code": value, "user_code": shown, "verification_uri": a.url(pathDevice),
		"verification_uri_complete": a.url(pathDevice) + "?user_code=" + shown,
		"expires_in":                int64(deviceLifetime / time.Second), "interval": int64(deviceInterval / time.Second),
	}, nil
}

// userCode makes 8 digits, without bias.
func (a *Authority) userCode() (string, error) {
	out := make([]byte, 0, 8)
	for len(out) < 8 {
		var r [16]byte
		if err := a.random(r[:]); err != nil {
			return "", err
		}
		for _, c := range r {
			if int(c) < 256/len(userCodeDigits)*len(userCodeDigits) && len(out) < 8 {
				out = append(out, userCodeDigits[int(c)%len(userCodeDigits)])
			}
		}
	}
	return string(out), nil
}

// serveDevice shows the page for typing the code.
func (a *Authority) serveDevice(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("user_code")
	if len(code) > 32 {
		code = ""
	}
	a.page(w, http.StatusOK, login.Device{Code: code})
}

// serveUserCode begins a transaction for the device behind a user code. Guesses
// are limited by address (RFC 8628 §5.1).
func (a *Authority) serveUserCode(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(w, r)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	now := a.d.Now()
	place := "device\x00" + a.address(r)
	if a.failures.Spent(place, now) {
		w.Header().Set("Retry-After", "30")
		a.page(w, http.StatusTooManyRequests, login.Device{Problem: "Too many attempts. Wait half a minute, then try again."})
		return
	}
	code := strings.Map(func(c rune) rune {
		if strings.ContainsRune(userCodeDigits, c) {
			return c
		}
		return -1
	}, strings.ToUpper(f.get("user_code")))
	doc, err := a.d.Documents.DocumentByRef(r.Context(), ledger.DocDevice, code)
	var d deviceDoc
	if err == nil {
		err = json.Unmarshal(doc.Body, &d)
	}
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		a.pageError(w, r, err)
		return
	}
	if err != nil || d.State != devicePending || now.Unix() >= d.Expires {
		a.failures.Take(place, now)
		a.page(w, http.StatusNotFound, login.Device{Code: f.get("user_code"), Problem: "That code is unknown or over. Check it, or start again on the device."})
		return
	}
	c, err := a.client(r.Context(), d.Request.Client)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	a.begin(w, r, c, &transaction{Request: d.Request, Device: doc.ID}, ledger.Batch{})
}

// settleDevice writes a person's answer to a device.
func (a *Authority) settleDevice(ctx context.Context, tx *transaction, b ledger.Batch, change func(*deviceDoc)) error {
	var d deviceDoc
	v, err := a.load(ctx, ledger.DocDevice, tx.Device, &d)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && d.State != devicePending {
		return errTransaction
	}
	if err != nil {
		return err
	}
	change(&d)
	if _, err = a.d.Ledger.Append(ctx, by("user:"+tx.Subject, join(b, put(ledger.DocDevice, tx.Device, v, d)))); errors.Is(err, ledger.ErrConflict) {
		return errTransaction
	}
	return err
}

func (a *Authority) approveDevice(w http.ResponseWriter, r *http.Request, tx *transaction, g mintmark.GrantMade, b ledger.Batch) {
	err := a.settleDevice(r.Context(), tx, b, func(d *deviceDoc) { d.State, d.Grant = deviceApproved, &g })
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	a.page(w, http.StatusOK, login.Done{Title: "Connected", Detail: "Your device goes on by itself. You can close this page."})
}

func (a *Authority) denyDevice(w http.ResponseWriter, r *http.Request, tx *transaction, b ledger.Batch) {
	err := a.settleDevice(r.Context(), tx, b, func(d *deviceDoc) { d.State = deviceDenied })
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	a.page(w, http.StatusOK, login.Done{Title: "Not connected", Detail: "The device was told no. You can close this page."})
}

// grantDevice answers a device's poll (RFC 8628 §3.4).
func (a *Authority) grantDevice(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	value := req.form.get("device_code")
	if value == "" {
		return nil, refuse("invalid_request", "device_code is missing")
	}
	id := a.secretID(value)
	var ans *tokenAnswer
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		var d deviceDoc
		version, err := a.load(ctx, ledger.DocDevice, id, &d)
		if errors.Is(err, ledger.ErrNotFound) || err == nil && (d.Request.Client != req.client.ID || d.State == deviceUsed) {
			return ledger.Batch{}, refuse("invalid_grant", "the device code is not valid")
		}
		if err != nil {
			return ledger.Batch{}, fmt.Errorf("read device: %w", err)
		}
		if a.d.Now().Unix() >= d.Expires {
			return ledger.Batch{}, refuse("expired_token", "the device code is over")
		}
		switch d.State {
		case deviceDenied:
			return ledger.Batch{}, refuse("access_denied", "the user said no")
		case devicePending:
			if !a.polls.Take(id, a.d.Now()) {
				return ledger.Batch{}, refuse("slow_down", "ask less often")
			}
			return ledger.Batch{}, refuse("authorization_pending", "the user has not answered yet")
		}
		d.State = deviceUsed
		got, b, err := a.openFamily(ctx, v, issue{req: req, grant: *d.Grant, openedBy: put(ledger.DocDevice, id, version, d)})
		ans = got
		return b, err
	})
	return ans, err
}
