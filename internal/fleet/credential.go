package fleet

import (
	"context"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// DefaultCredential is how long a gateway's credential is good.
const DefaultCredential = 24 * time.Hour

// A credential's end is written down by the wall clock and counted by the
// monotonic one: a jump of the former while control runs neither ends nor prolongs
// any, and after a restart none is good for longer than a whole lifetime.

// reign sets a member's end from its document, or anew for a lifetime when from is
// zero. Call with mu held.
func (f *Fleet) reign(m *member, from time.Duration) {
	m.expelled = false
	m.ends = from + f.cfg.Credential
	if m.doc.NKeyEnds != 0 {
		left := time.Unix(m.doc.NKeyEnds, 0).Sub(f.cfg.Now())
		m.ends = from + min(left, f.cfg.Credential)
	}
}

// endless reports whether a member's credential has no end: it is in control's own
// process, or joined before credentials had one. The latter is told to renew.
func (m *member) endless() bool { return m.doc.NKey == "" || m.doc.NKeyEnds == 0 }

// accepted reports whether a member's credential is good at now.
func (m *member) accepted(now, grace time.Duration) bool {
	return !m.doc.Removed && (m.endless() || now < m.ends+grace)
}

// renewDue reports whether a gateway should replace its credential: half of its
// life is over, or a replacement has begun.
func (m *member) renewDue(now, life time.Duration) bool {
	return m.doc.NKey != "" && (m.endless() || m.doc.Next != "" || m.ends-now < life/2)
}

// Member tells which gateway may connect with an NKEY: the bus asks at each
// connect, after it has seen proof that the key is held.
func (f *Fleet) Member(nkey string) (mintmark.GatewayID, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.byKey[nkey]
	m := f.members[id]
	if !ok || m == nil || !m.accepted(f.cfg.Clock(), f.cfg.CredentialGrace) {
		return "", false
	}
	return id, true
}

// expel cuts the connections made with keys. Call without mu.
func (f *Fleet) expel(id mintmark.GatewayID, keys ...string) {
	for _, k := range keys {
		if k != "" && f.cfg.Expel != nil {
			f.cfg.Expel(id, k)
		}
	}
}

// endCredentials cuts the connections of members whose credential has ended.
func (f *Fleet) endCredentials() {
	f.mu.Lock()
	now := f.cfg.Clock()
	over := map[mintmark.GatewayID][]string{}
	for id, m := range f.members {
		if m.doc.NKey != "" && !m.expelled && !m.accepted(now, f.cfg.CredentialGrace) {
			m.expelled = true
			over[id] = []string{m.doc.NKey, m.doc.Next}
		}
	}
	f.mu.Unlock()
	for id, keys := range over {
		f.cfg.Log.Warn("a gateway's credential has ended: it has to join again", "gateway", id)
		f.expel(id, keys...)
	}
}

// credential takes one step of replacing a gateway's credential; see
// bus.CredentialRequest. Each may be asked for again: dying after the write and
// before the answer costs the gateway one more question.
func (f *Fleet) credential(ctx context.Context, id mintmark.GatewayID, q bus.CredentialRequest) bus.CredentialReply {
	a := bus.CredentialReply{V: bus.Version}
	if err := q.Check(); err != nil || q.Gateway != id {
		a.Reason = "keys and signatures do not belong together"
		return a
	}
	if err := f.lock(ctx); err != nil {
		a.Error = "control is busy"
		return a
	}
	defer f.unlock()
	doc, version, done, reason := f.nextCredential(id, &q)
	if done || reason != "" {
		a.OK, a.Reason = done, reason
		return a
	}
	version, err := f.writeMember(ctx, "gateway:"+string(id), doc, version, ledger.Batch{})
	if err != nil {
		f.cfg.Log.Warn("a gateway's next credential not known to be written", "gateway", id, "error", err)
		a.Error = "the ledger is unavailable"
		return a
	}
	f.mu.Lock()
	m := f.members[id]
	dropped := []string{m.doc.Next}
	if q.Confirm {
		dropped = []string{q.Old}
	}
	f.unregister(m)
	m.doc, m.version = doc, version
	f.register(m, f.cfg.Clock())
	f.broadcast()
	f.mu.Unlock()
	// Whoever still speaks with a key that is no longer one is cut, be it a thief.
	f.expel(id, dropped...)
	if q.Confirm {
		f.cfg.Log.Info("a gateway has replaced its credential", "gateway", id)
	}
	a.OK = true
	return a
}

// nextCredential decides a step: the document to write, or that it is done
// already, or why not.
func (f *Fleet) nextCredential(id mintmark.GatewayID, q *bus.CredentialRequest) (doc memberDoc, version uint64, done bool, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[id]
	owner, taken := f.byKey[q.New]
	switch {
	case m == nil || m.doc.NKey == "":
		return doc, 0, false, "not a member with a credential of its own"
	case !m.accepted(f.cfg.Clock(), f.cfg.CredentialGrace):
		return doc, 0, false, "the credential has ended: join again"
	case m.doc.NKey == q.New:
		return doc, 0, true, ""
	case m.doc.NKey != q.Old:
		return doc, 0, false, "the key in use is another one: was this gateway's folder copied or restored? join again"
	case taken && owner != id:
		return doc, 0, false, "the new key is another gateway's"
	case q.Confirm && m.doc.Next != q.New:
		return doc, 0, false, "the new key was not announced"
	case !q.Confirm && m.doc.Next == q.New:
		return doc, 0, true, ""
	}
	doc = m.doc
	if doc.Next = q.New; q.Confirm {
		doc.NKey, doc.Next, doc.NKeyEnds = q.New, "", f.cfg.Now().Add(f.cfg.Credential).Unix()
	}
	return doc, m.version, false, ""
}
