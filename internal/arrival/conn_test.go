package arrival

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pulls remembers why it was pulled.
type pulls struct{ cause error }

func (p *pulls) Pull(cause error) { p.cause = cause }

func TestWatch(t *testing.T) {
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 64)); return err }
	for _, tc := range []struct {
		name string
		act  func(s *Server, c *strictConn, client net.Conn)
		want error
	}{
		{"client closes", func(_ *Server, c *strictConn, client net.Conn) { client.Close(); read(c) }, ErrGone},
		{"client misframes", func(_ *Server, c *strictConn, client net.Conn) {
			go io.WriteString(client, "GET / HTTP/1.1\n\n")
			read(c)
		}, ErrGone},
		{"net/http stops reading", func(_ *Server, c *strictConn, _ net.Conn) {
			c.SetReadDeadline(time.Unix(1, 0))
			read(c)
		}, nil},
		{"another protocol's end", func(_ *Server, c *strictConn, client net.Conn) {
			TakeOver(c)
			client.Close()
			read(c)
		}, nil},
		{"not watched any more", func(_ *Server, c *strictConn, client net.Conn) {
			c.facts.Watch(nil)
			client.Close()
			read(c)
		}, nil},
	} {
		s := NewServer(ServerConfig{})
		server, client := net.Pipe()
		c := s.strict(server, nil)
		var p pulls
		c.facts.Watch(&p)
		tc.act(s, c, client)
		if !errors.Is(p.cause, tc.want) || (p.cause == nil) != (tc.want == nil) {
			t.Errorf("%s: pulled with %v, want %v", tc.name, p.cause, tc.want)
		}
		if tc.want != nil { // who comes late is told at once
			var late pulls
			c.facts.Watch(&late)
			if !errors.Is(late.cause, ErrGone) {
				t.Errorf("%s: late watch was pulled with %v", tc.name, late.cause)
			}
		}
		c.Close()
		client.Close()
	}
}
