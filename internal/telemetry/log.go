// Package telemetry answers how a process tells what it does: its log, its
// metrics, its health, and its traces.
//
// Nothing that identifies a person or opens a door leaves by these ways: the log
// redacts by type, by the name of the attribute and by the shape of the value;
// metric labels are bounded and hold names of resources, never subjects or token
// ids. Everything is safe for concurrent use.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/mintmark/mintmark"
)

// NewLogger returns a logger that writes JSON lines to w, redacted, with the
// trace's id when the context has one. level is debug, info, warn or error;
// anything else is info.
func NewLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	return slog.New(redactor{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: redactAttr})})
}

// redactor cleans messages, which ReplaceAttr sees too late to keep their place,
// and adds the trace.
type redactor struct{ slog.Handler }

func (h redactor) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, Redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool { clean.AddAttrs(a); return true })
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		clean.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return h.Handler.Handle(ctx, clean)
}

func (h redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redactor{h.Handler.WithAttrs(attrs)}
}
func (h redactor) WithGroup(name string) slog.Handler { return redactor{h.Handler.WithGroup(name)} }

// secretKey matches attribute names whose values are not for a log. Names that
// end in _id, _kind and the like say which, not what, and stay.
var (
	secretKey = regexp.MustCompile(`(?i)(authorization|token|secret|password|passwd|cookie|credential|assertion|pepper|private|api[_-]?key|code_verifier|client_assertion|dpop)`)
	harmless  = regexp.MustCompile(`(?i)(^|[_.-])(id|ids|kind|type|count|state|len|size|seq|name)$|^(tokens|tokens_[a-z_]+)$`)
)

func redactAttr(groups []string, a slog.Attr) slog.Attr {
	// The handler's own fields, and the message that Handle has cleaned.
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return a
	}
	if a.Value.Kind() == slog.KindGroup {
		return a
	}
	if secretKey.MatchString(a.Key) && !harmless.MatchString(a.Key) && !number(a.Value) {
		return slog.String(a.Key, mintmark.Redacted)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, Redact(a.Value.String()))
	case slog.KindAny:
		return slog.Any(a.Key, redactAny(a.Value.Any()))
	}
	return a
}

func number(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindUint64, slog.KindTime:
		return true
	}
	return false
}

// redactAny keeps what is known to be harmless or can be cleaned, by type. A
// header or a URL is reduced to what may be seen of it.
func redactAny(v any) any {
	switch v := v.(type) {
	case error:
		return Redact(v.Error())
	case http.Header:
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		return names
	case *url.URL:
		return redactURL(*v)
	case url.URL:
		return redactURL(v)
	case []byte:
		return mintmark.Redacted
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = Redact(s)
		}
		return out
	case *http.Request:
		return v.Method + " " + redactURL(*v.URL)
	}
	return v
}

func redactURL(u url.URL) string {
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = mintmark.Redacted // codes and tokens travel in queries
	}
	u.Fragment = ""
	return u.String()
}

// tokenShape matches our opaque values, anything like a JWT, and credentials in an
// Authorization value or a URL, wherever they stand in a text.
var tokenShape = regexp.MustCompile(`mm[akr]_[0-9A-Za-z]{16,}|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*(\.[0-9A-Za-z_-]*){0,3}|(?i:\b(bearer|basic|dpop) +[0-9A-Za-z._~+/=-]{8,})|://[^/\s:@]+:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*`)

// Redact replaces what looks like a token or a key within text.
func Redact(text string) string {
	if !strings.ContainsAny(text, "_.: ") {
		return text // nothing of the shapes can be in it
	}
	return tokenShape.ReplaceAllString(text, mintmark.Redacted)
}
