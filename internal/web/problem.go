package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/mintmark/mintmark"
)

// Problem is problem details (RFC 9457) with the members that every surface of
// ours adds. It never holds a cause from inside.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Code is stable: what a program may act on.
	Code string `json:"code,omitempty"`
	// Fix says what to do about it.
	Fix       string `json:"fix,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	// RetryAfter goes out as a header, in whole seconds rounded up; 0 sends none.
	RetryAfter time.Duration `json:"-"`
}

// ProblemOf returns the problem that goes with a refusal's code.
func ProblemOf(code mintmark.Code) Problem {
	p := Problem{Status: code.Status(), Code: string(code), Title: http.StatusText(code.Status())}
	if code == mintmark.CodeStateUnknown {
		p.RetryAfter = time.Second
	}
	return p
}

// WriteProblem answers with p; the request's id is added from its context.
func WriteProblem(w http.ResponseWriter, r *http.Request, p Problem) {
	if p.RequestID == "" {
		p.RequestID = RequestID(r.Context())
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	h := w.Header()
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone: nothing to do
}

// WriteJSON answers status with v as JSON that no cache keeps.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"title":"Internal Server Error","status":500}`, http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// ErrBody reports a request body that cannot be read as asked.
var ErrBody = errors.New("request body")

// ReadJSON decodes the one JSON value of r's body, of at most limit bytes, into
// v. Unknown members are refused: a misspelt member must not be silently without
// effect. Errors wrap ErrBody.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return fmt.Errorf("%w: want Content-Type application/json", ErrBody)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return fmt.Errorf("%w: larger than %d bytes", ErrBody, large.Limit)
		}
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one JSON value", ErrBody)
	}
	return nil
}
