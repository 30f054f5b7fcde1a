package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
)

// upgradeOf returns the protocol that an HTTP/1.1 request without a body asks to
// switch to; "" for none.
func upgradeOf(r *http.Request) string {
	u := r.Header["Upgrade"]
	if len(u) != 1 || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.ContentLength != 0 || len(u[0]) > 64 {
		return ""
	}
	for _, line := range r.Header["Connection"] {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), "upgrade") {
				return u[0]
			}
		}
	}
	return ""
}

// tunnel joins client and upstream after a 101 until either ends or the token is
// taken back.
func (x *exchange) tunnel(ctx context.Context, resp *http.Response) {
	up, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(resp.Header.Get("Upgrade"), x.out.Header.Get("Upgrade")) {
		resp.Body.Close()
		x.refuse(mintmark.CodeUpstream)
		return
	}
	defer up.Close()
	// From here on an end that the client sends is passed on, and ends one way only.
	x.unwatch()
	head := resp.Header
	protocol := head.Get("Upgrade")
	cleanResponse(head)
	h := x.w.Header()
	for n, v := range head {
		h[n] = v
	}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	client, buf, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.g.unavailable(ctx, "connection could not be taken over", x, err)
		x.refuse(mintmark.CodeUpstream)
		return
	}
	defer client.Close()
	under := arrival.TakeOver(client)
	x.status = http.StatusSwitchingProtocols
	x.cord.Also(func() { arrival.Sever(under) }) // who cuts must not wait for the client
	defer x.cord.Also(nil)
	stop := context.AfterFunc(ctx, func() { x.cord.Pull(arrival.ErrGone) })
	defer stop()
	buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if h.Write(buf) != nil {
		return
	}
	buf.WriteString("\r\n")
	if buf.Flush() != nil {
		return
	}
	// What the client sent ahead of the answer is already in buf.
	var early io.Reader = client
	if n := buf.Reader.Buffered(); n > 0 {
		early = io.MultiReader(io.LimitReader(buf.Reader, int64(n)), client)
	}
	x.sent = join(client, under, early, up)
	if errors.Is(x.cord.Cause(), errCut) {
		x.status = 499
	}
}

// join copies both ways until both directions have ended, or one failed, and
// returns how many bytes went to the client.
func join(client, under net.Conn, fromClient io.Reader, up io.ReadWriteCloser) int64 {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.Copy(up, fromClient)
		if cw, ok := up.(interface{ CloseWrite() error }); ok && err == nil {
			cw.CloseWrite()
			return
		}
		up.Close()
		client.Close()
	})
	n, err := io.Copy(client, up)
	if cw, ok := under.(interface{ CloseWrite() error }); ok && err == nil {
		cw.CloseWrite()
	} else {
		client.Close()
	}
	up.Close()
	// The upstream is done: nothing the client says matters any more.
	client.Close()
	wg.Wait()
	return n
}
