package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// wire is a TCP proxy between a gateway and control's bus, where the network
// fails on purpose. What travels is TLS: it can be cut, held up and thinned out,
// not altered.
type wire struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	conns   map[net.Conn]bool // guarded by mu
	cut     bool              // guarded by mu; connections are closed, new ones at once
	down    bool              // guarded by mu; nothing passes toward the gateway, connections stay open
	up      bool              // guarded by mu; nothing passes toward control
	thawed  *sync.Cond        // on mu
	budget  func() int64      // guarded by mu; bytes toward the gateway before a new connection is cut; nil is no bound
	delay   time.Duration     // guarded by mu; of each piece toward the gateway
	passed  int64             // guarded by mu; bytes toward the gateway, ever
	refused int               // guarded by mu; connections closed for want of a wire
	done    bool              // guarded by mu
}

func newWire(t testing.TB, target string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, target: target, conns: map[net.Conn]bool{}}
	w.thawed = sync.NewCond(&w.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		w.done = true
		w.sever()
		w.mu.Unlock()
		wg.Wait()
	})
	return w
}

func (w *wire) port() string {
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	return port
}

// Cut severs the wire until Heal.
func (w *wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	w.sever()
}

// Freeze lets nothing pass until Heal, and closes nothing: what a lost route
// looks like from both ends.
func (w *wire) Freeze() { w.FreezeOneWay(true, true) }

// FreezeOneWay lets nothing pass toward the gateway (down), toward control (up),
// or both.
func (w *wire) FreezeOneWay(down, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.up = down, up
}

// Heal lets everything pass again.
func (w *wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.down, w.up, w.budget, w.delay = false, false, false, nil, 0
	w.thawed.Broadcast()
}

// Slow holds up each piece toward the gateway.
func (w *wire) Slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// Ration cuts the connection there is, and each new one after as many bytes
// toward the gateway as budget says.
func (w *wire) Ration(budget func() int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = budget
	w.sever()
}

// Passed says how many bytes went toward the gateway.
func (w *wire) Passed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}

// sever closes all connections. Call with mu held.
func (w *wire) sever() {
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
	w.down, w.up = false, false
	w.thawed.Broadcast()
}

func (w *wire) carry(in net.Conn) {
	defer in.Close()
	w.mu.Lock()
	if w.cut || w.done {
		w.refused++
		w.mu.Unlock()
		return
	}
	left := int64(-1)
	if w.budget != nil {
		left = w.budget()
	}
	w.mu.Unlock()
	out, err := net.DialTimeout("tcp", w.target, time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !w.hold(in, out) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.pump(in, out, left, true) })
	wg.Go(func() { w.pump(out, in, -1, false) })
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, in)
	delete(w.conns, out)
}

// hold registers connections; false when the wire was cut meanwhile.
func (w *wire) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut || w.done {
		return false
	}
	for _, c := range conns {
		w.conns[c] = true
	}
	return true
}

// pump copies one direction until it ends, left bytes are through (negative is
// no bound), or the wire is cut.
func (w *wire) pump(to, from net.Conn, left int64, toGateway bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if err != nil && n == 0 {
			return
		}
		if left >= 0 && int64(n) > left {
			n = int(left)
		}
		w.mu.Lock()
		for (toGateway && w.down || !toGateway && w.up) && !w.done {
			w.thawed.Wait()
		}
		delay := w.delay
		if toGateway {
			w.passed += int64(n)
		}
		w.mu.Unlock()
		if delay > 0 && toGateway {
			time.Sleep(delay)
		}
		if _, err := to.Write(b[:n]); err != nil && err != io.EOF {
			return
		}
		if left >= 0 {
			if left -= int64(n); left == 0 {
				return
			}
		}
	}
}

// A wire does to a stream what its methods say.
func TestWire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	w := newWire(t, l.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", w.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	trip := func(c net.Conn, n int) int {
		if _, err := c.Write(make([]byte, n)); err != nil {
			return -1
		}
		got, _ := io.ReadFull(c, make([]byte, n))
		return got
	}
	c := dial()
	if got := trip(c, 100); got != 100 {
		t.Fatalf("%d of 100 bytes passed", got)
	}
	w.Cut()
	if got := trip(c, 100); got > 0 {
		t.Error("bytes passed a cut wire")
	}
	if got := trip(dial(), 1); got > 0 {
		t.Error("a new connection passed a cut wire")
	}
	w.Heal()
	w.Ration(func() int64 { return 40 })
	if got := trip(dial(), 100); got != 40 {
		t.Errorf("%d bytes passed, rationed to 40", got)
	}
	w.Heal()
	c = dial()
	w.Freeze()
	_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if got := trip(c, 10); got > 0 {
		t.Error("bytes passed a frozen wire")
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	w.Heal()
	if n, _ := io.ReadFull(c, make([]byte, 10)); n != 10 {
		t.Errorf("%d of 10 bytes came after the thaw", n)
	}
}
