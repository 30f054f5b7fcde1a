package web

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// answerResponse dresses a whole answer as a response for http.Client.
func answerResponse(a Answer, r *http.Request) *http.Response {
	return &http.Response{
		Status: http.StatusText(a.Status), StatusCode: a.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)), Request: r,
	}
}

// Client returns an http.Client with the bounds of e, for libraries that want
// one.
func (e *Egress) Client() *http.Client {
	return &http.Client{Transport: e, Timeout: e.config.Timeout + time.Second, CheckRedirect: e.client.CheckRedirect}
}
