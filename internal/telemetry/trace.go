package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracing makes spans and carries W3C trace context. Without an endpoint it makes
// none and costs nothing, and trace context still passes through.
type Tracing struct {
	tracer   trace.Tracer
	on       bool
	context  propagation.TraceContext
	shutdown func(context.Context) error
}

// TracingConfig says where traces go.
type TracingConfig struct {
	// Endpoint is the URL of an OTLP/HTTP collector; empty switches spans off.
	Endpoint string
	// PerMille of new traces is kept, 0 to 1000; a caller's decision is followed.
	PerMille int
	Role     string
	Version  string
}

// NewTracing returns tracing; with an endpoint it starts the exporter's
// goroutine, which Shutdown ends.
func NewTracing(ctx context.Context, c TracingConfig) (*Tracing, error) {
	if c.Endpoint == "" {
		return &Tracing{tracer: noop.NewTracerProvider().Tracer(""), shutdown: func(context.Context) error { return nil }}, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("open trace exporter: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces" // OTLP/HTTP: a base URL stands for the signal's path under it
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("open trace exporter: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(c.PerMille)/1000))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "mintmark-"+c.Role), attribute.String("service.version", c.Version))),
	)
	return &Tracing{on: true, tracer: provider.Tracer("mintmark"), shutdown: provider.Shutdown}, nil
}

// Start begins a span; the caller ends it. Names and attributes hold no personal
// data.
func (t *Tracing) Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}

// Serve makes a span of every request to next that is sampled, under the caller's
// span if it names one, and passes on as the caller. Requests that are not sampled
// go through untouched.
func (t *Tracing) Serve(name string, next http.Handler) http.Handler {
	if !t.on {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(t.Extract(r.Context(), r.Header), name, trace.WithSpanKind(trace.SpanKindServer))
		if !span.IsRecording() {
			next.ServeHTTP(w, r)
			return
		}
		seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			span.SetAttributes(attribute.String("http.request.method", method(r.Method)), attribute.Int("http.response.status_code", seen.status))
			if seen.status >= 500 {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}()
		t.Inject(ctx, r.Header)
		next.ServeHTTP(seen, r.WithContext(ctx))
	})
}

// method is a request's method as a bounded attribute (OpenTelemetry's HTTP
// conventions).
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return m
	}
	return "_OTHER"
}

// seenWriter remembers the status. It flushes, and gives way to what
// http.ResponseController looks for.
type seenWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush implements http.Flusher.
func (w *seenWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Extract takes the caller's trace context from a request's header.
func (t *Tracing) Extract(ctx context.Context, h http.Header) context.Context {
	return t.context.Extract(ctx, propagation.HeaderCarrier(h))
}

// Inject puts the trace context into the header of a request going out.
func (t *Tracing) Inject(ctx context.Context, h http.Header) {
	t.context.Inject(ctx, propagation.HeaderCarrier(h))
}

// Shutdown flushes and ends the exporter, until ctx is over.
func (t *Tracing) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }
