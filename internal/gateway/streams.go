package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// errCut is the cause with which an exchange ends whose token was taken back.
var errCut = errors.New("gateway: token was taken back")

// streams knows every exchange in flight, so that none outlives its token's
// revocation: a WebSocket, an event stream, a call, a long transfer, or a request
// that still waits for its connection. An exchange is here before its last check
// (exchange.Pass) and until its end, so that each revocation meets it in one of
// the two.
type streams struct {
	shards [32]shard
	turn   atomic.Uint32
}

type shard struct {
	mu   sync.Mutex
	head *exchange // guarded by mu
	n    int       // guarded by mu
}

// add registers x; its token must not change until remove.
func (s *streams) add(x *exchange) {
	x.shard = &s.shards[s.turn.Add(1)%uint32(len(s.shards))]
	sh := x.shard
	sh.mu.Lock()
	x.next, x.prev = sh.head, nil
	if sh.head != nil {
		sh.head.prev = x
	}
	sh.head = x
	sh.n++
	sh.mu.Unlock()
}

func (s *streams) remove(x *exchange) {
	sh := x.shard
	if sh == nil {
		return
	}
	sh.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		sh.head = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	sh.n--
	sh.mu.Unlock()
	x.shard, x.prev, x.next = nil, nil, nil
}

// open counts exchanges in flight.
func (s *streams) open() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += sh.n
		sh.mu.Unlock()
	}
	return n
}

// cut ends what snap refuses and says how many. When it returns their connections
// upstream are closed: no further byte is taken from or given to a server.
func (s *streams) cut(snap *epoch.Snapshot, now time.Time) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for x := sh.head; x != nil; x = x.next {
			if x.token != nil && !x.severed && takenBack(snap, x.token, now) {
				x.severed = true
				x.cord.Pull(errCut)
				n++
			}
		}
		sh.mu.Unlock()
	}
	return n
}

// takenBack reports whether snap refuses a token for what it is, whatever is asked
// of it: revoked, suspended, of a release that was taken back, signed by a key that
// was withdrawn, or of a foreign issuer that is no longer trusted.
func takenBack(snap *epoch.Snapshot, t *mintmark.Token, now time.Time) bool {
	if snap.Revoked.Find(t) != nil {
		return true
	}
	if t.Kind == mintmark.KindAccessJWT && t.Mark.Key != "" && snap.Table.OwnKey(t.Mark.Key) == nil {
		return true
	}
	if t.Kind == mintmark.KindForeign && snap.Table.Issuer(t.Issuer) == nil {
		return true
	}
	s := snap.Table.Service(t.Mark.Release.Service())
	if s == nil {
		return false
	}
	// Taken back is what every release that serves refuses: a token that the
	// cohort's release cannot read may still meet the other one.
	return refuses(snap, s.Stable, t, now) && (s.Candidate == nil || refuses(snap, s.Candidate, t, now))
}

func refuses(snap *epoch.Snapshot, r *epoch.ReleaseEntry, t *mintmark.Token, now time.Time) bool {
	return snap.Table.Dispose(t, r, now.Unix()).Disposition == mintmark.Revoke
}
