package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// log writes the request's access record. It names the token by its id and the
// path without the query: neither holds a secret of ours.
func (x *exchange) log() {
	d := &x.d
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("method", x.r.Method), slog.String("host", x.r.Host), slog.String("path", x.r.URL.EscapedPath()),
		slog.Int("status", x.status), slog.Int64("bytes", x.sent),
		slog.Duration("took", time.Since(x.start)), slog.String("trace", traceID(x.trace)),
		slog.String("peer", Truncated(x.facts.Peer)),
	)
	if r := d.Verdict.Route; r != nil {
		attrs = append(attrs, slog.String("route", r.ID))
	}
	if r := d.Verdict.Release; r != nil {
		attrs = append(attrs, slog.String("served", string(r.ID)))
	}
	if d.Verdict.Code != "" {
		attrs = append(attrs, slog.String("code", string(d.Verdict.Code)))
	}
	if d.Snapshot != nil {
		attrs = append(attrs, slog.Uint64("epoch", d.Snapshot.Epoch))
	}
	if t := d.Token; t != nil {
		attrs = append(attrs, slog.String("tid", string(t.ID)), slog.String("release", string(t.Mark.Release)), slog.String("client", string(t.Client)))
	}
	level := slog.LevelInfo
	if x.status == http.StatusBadGateway || x.status == http.StatusServiceUnavailable {
		level = slog.LevelWarn
	}
	x.g.cfg.Access.LogAttrs(context.Background(), level, "request", attrs...)
}
