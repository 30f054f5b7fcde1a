// Package upstream answers the question: which server of a release gets this
// request, and how do its bytes travel there and back?
//
// A [Pool] serves one release. It chooses among the release's healthy servers by
// weight, keeps connections open, tries an idempotent request without body
// elsewhere when a connection fails, and ejects servers that keep failing. A
// [Set] holds the pools of all releases that a gateway knows, shared between
// epochs as long as their configuration is the same, and owns the active checks.
//
// Plain http servers are spoken to over a lean HTTP/1.1 engine of this package
// (wire): one goroutine, no hand-over between reader and writer, so that the last
// admission check, [Gate], happens after a connection was obtained and
// immediately before the first byte of the request leaves. https and h2c servers
// are spoken to over net/http's ClientConn with the same property.
//
// The engine is strict about what comes back, because a response that two parsers
// frame differently is how one client gets another's answer: a response with both
// Content-Length and Transfer-Encoding, a repeated Content-Length, a control
// character in a field, or bytes after its end costs the connection, and all but
// the last cost the response too (RFC 9112 §6.3, §11.1).
//
// All exported methods may be called concurrently. New starts nothing; Set.Run
// owns every goroutine but those of requests with a body, which end with them.
package upstream
