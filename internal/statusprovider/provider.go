package statusprovider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// Timing of lists.
const (
	// TTL is how long others may keep a list (its claim ttl).
	TTL = time.Minute
	// life is how long a list is valid (exp): others go on with it that long when
	// they can't reach us.
	life = 10 * time.Minute
	// debounce is the least time between two passes over one hour of one release.
	debounce = time.Second
	// passTime bounds one pass.
	passTime = 30 * time.Second
)

const (
	// kept is how many hours of releases are kept in memory; passes how many are
	// made at once.
	kept   = 256
	passes = 2
	page   = 1000
	// furthest is how far ahead tokens that have a place may expire, in seconds: a
	// day for the longest access token, and room for clocks.
	furthest = 26 * 3600
)

// Store reads tokens; see sqlite.Store.Listed.
type Store interface {
	Listed(ctx context.Context, release mintmark.ReleaseID, from, to int64, after mintmark.TokenID, limit int) ([]ledger.TokenRow, error)
}

// State is what is in force.
type State interface{ Current() *epoch.Snapshot }

// Judge is the authority: what a token's state is, and who signs lists.
type Judge interface {
	// Judge returns a judgement by the state of this moment: CodeNone for a token
	// that is accepted.
	Judge() (func(t *mintmark.Token, stored mintmark.TokenState) mintmark.Code, error)
	// SignList signs a list's claims under the typ statuslist+jwt.
	SignList(payload []byte) (string, error)
}

// Config of a Provider.
type Config struct {
	// Issuer is the issuer identifier; Layout says where the lists are.
	Issuer string
	Layout statuslist.Layout
	Store  Store
	State  State
	Judge  Judge
	// Issued is the issuance number reserved last.
	Issued func() uint64
	Now    func() time.Time
	Log    *slog.Logger
}

// Provider publishes the lists. Use New.
type Provider struct {
	cfg   Config
	slots chan struct{} // passes under way

	mu    sync.Mutex
	hours map[hour]*content // guarded by mu; at most kept
}

// hour is what one pass makes the lists of.
type hour struct {
	release mintmark.ReleaseID
	bucket  int64
}

// content is an hour's lists. It is made by one caller while others wait at made;
// after that it does not change but for texts.
type content struct {
	made  chan struct{}
	err   error
	at    time.Time // when its pass began
	seq   uint64    // of the state log then
	known bool      // some token of ours expires in it, or its release is in force
	lists map[uint64]*statuslist.List

	mu    sync.Mutex
	texts map[uint64]*text // by block; guarded by mu
}

// New returns a Provider.
func New(c Config) *Provider {
	return &Provider{cfg: c, slots: make(chan struct{}, passes), hours: map[hour]*content{}}
}

// Errors of List.
var (
	// ErrNone: there is no such list, or not any more.
	ErrNone = errors.New("no such status list")
	// ErrBusy: too many lists are being made, or the ledger gives no answer.
	ErrBusy = errors.New("status list not available now")
)

// text returns the signed list of a place, as good as new.
func (p *Provider) text(ctx context.Context, place statuslist.Place) (*text, error) {
	now := p.cfg.Now()
	end := place.Ends()
	if end <= now.Unix() || end > now.Unix()+furthest+statuslist.Bucket || place.Block > p.cfg.Issued()/statuslist.Room {
		return nil, ErrNone
	}
	c, err := p.content(ctx, hour{place.Release, place.Bucket}, now)
	if err != nil {
		return nil, err
	}
	if !c.known {
		return nil, ErrNone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.texts[place.Block]; t != nil && now.Sub(t.made) < TTL/2 && !now.Before(t.made) {
		return t, nil
	}
	t, err := p.sign(place, c.lists[place.Block], now)
	if err == nil {
		c.texts[place.Block] = t
	}
	return t, err
}

// content returns an hour's lists: kept ones while they are good, else made anew.
func (p *Provider) content(ctx context.Context, h hour, now time.Time) (*content, error) {
	s := p.cfg.State.Current()
	if s == nil {
		return nil, fmt.Errorf("%w: no state in force", ErrBusy)
	}
	p.mu.Lock()
	c := p.hours[h]
	if c == nil || c.over(s.Seq, now) {
		c = &content{made: make(chan struct{}), at: now, seq: s.Seq, texts: map[uint64]*text{}}
		p.room(now)
		p.hours[h] = c
		p.mu.Unlock()
		c.err = p.make(ctx, h, c)
		if c.err != nil {
			p.mu.Lock()
			if p.hours[h] == c {
				delete(p.hours, h) // the next one tries again
			}
			p.mu.Unlock()
		}
		close(c.made)
		return c, c.err
	}
	p.mu.Unlock()
	select {
	case <-c.made:
		return c, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// over reports whether lists are to be made anew: the state log moved, or time did
// (a grace ends without a row). One under way is waited for.
func (c *content) over(seq uint64, now time.Time) bool {
	select {
	case <-c.made:
	default:
		return false
	}
	age := now.Sub(c.at)
	return age < 0 || age >= TTL || seq != c.seq && age >= debounce
}

// room makes place: hours that are over go first, then those asked for longest ago.
// Called with mu held.
func (p *Provider) room(now time.Time) {
	if len(p.hours) < kept {
		return
	}
	var oldest hour
	for h, c := range p.hours {
		if (h.bucket+1)*statuslist.Bucket <= now.Unix() {
			delete(p.hours, h)
		} else if o := p.hours[oldest]; o == nil || c.at.Before(o.at) {
			oldest = h
		}
	}
	if len(p.hours) >= kept {
		delete(p.hours, oldest)
	}
}

// make reads the tokens of an hour and marks those that do not hold.
func (p *Provider) make(ctx context.Context, h hour, c *content) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	// Others wait for it, whoever asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), passTime)
	defer cancel()
	judge, err := p.cfg.Judge.Judge()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	c.known = p.cfg.State.Current().Table.Release(h.release) != nil
	c.lists = map[uint64]*statuslist.List{}
	from, to, after := h.bucket*statuslist.Bucket, (h.bucket+1)*statuslist.Bucket, mintmark.TokenID("")
	for {
		rows, err := p.cfg.Store.Listed(ctx, h.release, from, to, after, page)
		if err != nil {
			return fmt.Errorf("%w: read tokens: %w", ErrBusy, err)
		}
		for i := range rows {
			c.known = true
			if err := p.mark(c, &rows[i], judge); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		last := &rows[len(rows)-1]
		from, after = last.Expires, last.ID
	}
}

// mark writes down a token that does not hold, if it has a place.
func (p *Provider) mark(c *content, row *ledger.TokenRow, judge func(*mintmark.Token, mintmark.TokenState) mintmark.Code) error {
	status := statusOf(judge(&row.Token, row.State))
	if status == statuslist.Valid {
		return nil
	}
	// Its place stands in its own claim: what it was minted with, not what this
	// program would give it today.
	s := jose.Scan(string(row.Claims))
	var claim jose.Value
	for s.Next() {
		if s.Name() == "status" {
			claim = s.Value()
		}
	}
	ref, ok, err := statuslist.ParseClaim(claim)
	place := statuslist.PlaceOf(row.Mark.Release, row.Expires, row.Mark.Seq)
	if err != nil || !ok || ref.URI != p.cfg.Layout.URI(place) || ref.Index >= statuslist.Room {
		return nil //nolint:nilerr // a claim of that name that a policy made is no place of ours
	}
	l := c.lists[place.Block]
	if l == nil {
		if l, err = statuslist.New(statuslist.Bits, statuslist.Room); err != nil {
			return err
		}
		c.lists[place.Block] = l
	}
	return l.Set(int(ref.Index), status)
}

// statusOf is a judgement as a status. Of an expired token its own exp speaks
// (draft §7.1).
func statusOf(code mintmark.Code) statuslist.Status {
	switch code {
	case mintmark.CodeNone, mintmark.CodeExpired, mintmark.CodeNotYetValid:
		return statuslist.Valid
	case mintmark.CodeSuspended:
		return statuslist.Suspended
	}
	return statuslist.Invalid
}
