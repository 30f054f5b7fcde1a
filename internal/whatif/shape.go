package whatif

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Shape is one request without whoever made it: what is left when the token's value
// and id, the subject, the path and every claim's value are taken out. Members are
// added, never renamed.
type Shape struct {
	// At is when it was decided, in Unix seconds to the minute.
	At int64 `json:"at"`
	// Weight is for how many requests it stands, in thousandths.
	Weight  int64              `json:"w"`
	Gateway mintmark.GatewayID `json:"gateway,omitempty"`
	Epoch   uint64             `json:"epoch,omitempty"` // that it was decided by
	// Route is service/route; Path, Host and Headers are the route's own pattern, not
	// what was sent.
	Route   string            `json:"route"`
	Path    string            `json:"path"`
	Host    string            `json:"host,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Method  string            `json:"method"`
	// Code is why it was refused; empty when it was admitted. Served is the release
	// that it was, or would have been, served by.
	Code   mintmark.Code      `json:"code,omitempty"`
	Served mintmark.ReleaseID `json:"served,omitempty"`
	Token  *TokenShape        `json:"token,omitempty"` // nil: nobody was identified
}

// TokenShape is a token without its value, id, subject and claims.
type TokenShape struct {
	Kind     mintmark.TokenKind `json:"kind"`
	Issuer   string             `json:"iss,omitempty"`
	Client   mintmark.ClientID  `json:"client,omitempty"`
	Subject  string             `json:"sub,omitempty"` // a pseudonym, good for one run of one gateway
	Scopes   []string           `json:"scopes,omitempty"`
	Audience []string           `json:"aud,omitempty"`
	Release  mintmark.ReleaseID `json:"release,omitempty"` // that minted
	Bound    string             `json:"bound,omitempty"`   // dpop, mtls or both
	ACR      string             `json:"acr,omitempty"`
	// Left and AuthAge are seconds rounded down to a power of two; Life is how long it
	// was to live. Left 0 is without end or over; AuthAge -1 is unknown.
	Left    int64 `json:"left,omitempty"`
	Life    int64 `json:"life,omitempty"`
	AuthAge int64 `json:"auth_age,omitempty"`
	// Claims are the names of further claims and the JSON types of their values.
	Claims map[string]string `json:"claims,omitempty"`
}

// Bounds of what is kept of a token: whoever makes tokens chooses these.
const (
	maxNames  = 64  // scopes, audiences, claims
	maxLength = 256 // bytes of a name
)

// ShapeOf redacts a request that was decided at now. pseudonym stands for a subject.
// The route must not be nil.
func ShapeOf(route *epoch.RouteEntry, method string, code mintmark.Code, served *epoch.ReleaseEntry, t *mintmark.Token, epochNumber uint64, now time.Time, pseudonym func(string) string) Shape {
	s := Shape{
		At: now.Unix() / 60 * 60, Weight: 1000, Epoch: epochNumber, Route: route.ID, Path: route.Path, Headers: route.Headers, Method: methodOf(route, method), Code: code,
	}
	if hosts := route.Service.Hosts; len(hosts) > 0 {
		s.Host = hosts[0]
	}
	if served != nil {
		s.Served = served.ID
	}
	if t == nil {
		return s
	}
	k := &TokenShape{
		Kind: t.Kind, Issuer: cut(t.Issuer), Client: mintmark.ClientID(cut(string(t.Client))), Scopes: cutAll(t.Scopes), Audience: cutAll(t.Audience),
		Release: t.Mark.Release, ACR: cut(t.ACR), Claims: types(t.Claims), AuthAge: -1,
	}
	if t.Subject != "" {
		k.Subject = pseudonym(t.Subject)
	}
	switch b := t.Binding; {
	case b.JKT != "" && b.X5T != "":
		k.Bound = "both"
	case b.JKT != "":
		k.Bound = "dpop"
	case b.X5T != "":
		k.Bound = "mtls"
	}
	if t.Expires != 0 {
		k.Left = floor2(t.Expires - now.Unix())
		if t.IssuedAt != 0 {
			k.Life = max(t.Expires-t.IssuedAt, 0)
		}
	}
	if t.AuthTime != 0 {
		k.AuthAge = floor2(now.Unix() - t.AuthTime)
	}
	s.Token = k
	return s
}

// methodOf keeps methods that are in common use or that the route names; the others
// are the caller's free text.
func methodOf(route *epoch.RouteEntry, method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	for _, m := range route.Methods {
		if m == method {
			return m
		}
	}
	return "OTHER"
}

func cut(s string) string { return s[:min(len(s), maxLength)] }

func cutAll(list []string) []string {
	out := make([]string, 0, min(len(list), maxNames))
	for _, s := range list[:min(len(list), maxNames)] {
		out = append(out, cut(s))
	}
	return out
}

// floor2 rounds down to a power of two; what is not positive is 0.
func floor2(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return 1 << (bits.Len64(uint64(n)) - 1)
}

// types lists the names of a JSON object's members with the types of their values.
func types(claims json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if len(claims) == 0 || json.Unmarshal(claims, &members) != nil || len(members) == 0 {
		return nil
	}
	out := map[string]string{}
	for name, v := range members {
		if len(out) == maxNames || len(v) == 0 {
			break
		}
		kind := "number"
		switch v[0] {
		case '"':
			kind = "string"
		case '{':
			kind = "object"
		case '[':
			kind = "array"
		case 't', 'f':
			kind = "boolean"
		case 'n':
			kind = "null"
		}
		out[cut(name)] = kind
	}
	return out
}

// token builds a token that has the shape at now. Its id, subject and keys are made
// up.
func (k *TokenShape) token(now time.Time) *mintmark.Token {
	t := &mintmark.Token{
		ID: "tok_shape", Kind: k.Kind, Issuer: k.Issuer, Subject: k.Subject, Client: k.Client, Scopes: mintmark.SortedSet(k.Scopes), Audience: mintmark.SortedSet(k.Audience),
		Mark: mintmark.Mark{Release: k.Release}, ACR: k.ACR,
	}
	if k.Left > 0 || k.Kind != mintmark.KindAPIKey {
		left := max(k.Left, 1)
		t.Expires = now.Unix() + left
		t.IssuedAt = now.Unix() - max(k.Life-left, 0)
	}
	if k.AuthAge >= 0 {
		t.AuthTime = now.Unix() - k.AuthAge
	}
	if k.Bound == "dpop" || k.Bound == "both" {
		t.Binding.JKT = bindingKey
	}
	if k.Bound == "mtls" || k.Bound == "both" {
		t.Binding.X5T = bindingKey
	}
	return t
}

// bindingKey is the key that bound shapes are bound to, and that they come with.
const bindingKey = "shape"

// Check reports what a shape from a file lacks.
func (s *Shape) Check() error {
	switch {
	case s.Route == "" || strings.Count(s.Route, "/") != 1:
		return errors.New("route: want service/route")
	case s.Path == "" || s.Path[0] != '/':
		return errors.New("path: want the route's pattern")
	case s.Method == "":
		return errors.New("method is missing")
	case s.Weight <= 0 || s.Weight > maxWeight:
		return errors.New("w: want thousandths of requests, 1 or more")
	}
	return nil
}

// maxWeight keeps sums of weights from overflowing.
const maxWeight = 1 << 40

// maxShapes and maxLine bound a file of shapes.
const (
	maxShapes = 200_000
	maxLine   = 64 << 10
)

// Read reads shapes as JSON lines. Empty lines are left out; the error names the
// line.
func Read(r io.Reader) ([]Shape, error) {
	var out []Shape
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 4096), maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(out) == maxShapes {
			return nil, fmt.Errorf("line %d: more than %d records: split the file", n, maxShapes)
		}
		var s Shape
		err := json.Unmarshal(line, &s)
		if err == nil {
			err = s.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: not a recorded request: %w", n, err)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return out, nil
}

// Write writes shapes as JSON lines.
func Write(w io.Writer, shapes []Shape) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range shapes {
		if err := e.Encode(&shapes[i]); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
	}
	return nil
}
