package telemetry

import (
	"context"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
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
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("open trace exporter: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(c.PerMille)/1000))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "mintmark-"+c.Role), attribute.String("service.version", c.Version))),
	)
	return &Tracing{tracer: provider.Tracer("mintmark"), shutdown: provider.Shutdown}, nil
}

// Start begins a span; the caller ends it. Names and attributes hold no personal
// data.
func (t *Tracing) Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}

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
