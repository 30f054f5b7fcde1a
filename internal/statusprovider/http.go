package statusprovider

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/statuslist"
	"github.com/mintmark/mintmark/internal/web"
)

// text is a signed list as it is sent. It does not change.
type text struct {
	made         time.Time
	plain, small []byte // small is gzip of plain
	etag         string
}

// sign makes the text of a list; nil is one in which every token holds.
func (p *Provider) sign(place statuslist.Place, l *statuslist.List, now time.Time) (*text, error) {
	if l == nil {
		var err error
		if l, err = statuslist.New(statuslist.Bits, statuslist.Room); err != nil {
			return nil, err
		}
	}
	tok := statuslist.Token{
		Issuer: p.cfg.Issuer, Subject: p.cfg.Layout.URI(place), IssuedAt: now.Unix(), TTL: int64(TTL / time.Second), List: l,
		Expires: min(now.Add(life).Unix(), place.Ends()),
	}
	payload, err := tok.Payload()
	if err != nil {
		return nil, fmt.Errorf("encode status list: %w", err)
	}
	signed, err := p.cfg.Judge.SignList(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: sign: %w", ErrBusy, err)
	}
	t := &text{made: now, plain: []byte(signed)}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err = z.Write(t.plain); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress status list: %w", err)
	}
	t.small = b.Bytes()
	sum := sha256.Sum256(t.plain)
	t.etag = base64.RawURLEncoding.EncodeToString(sum[:16])
	return t, nil
}

// Handler answers GET and HEAD of the lists below a prefix such as "/status/".
func (p *Provider) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"{service}/{release}/{list}", p.serve)
	return mux
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // draft §8.1: browsers may read it
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept, Accept-Encoding")
	if r.URL.Query().Has("time") {
		refuse(w, r, http.StatusNotImplemented, "Past states of a status list are not kept", "leave out the parameter time")
		return
	}
	if !accepts(r.Header.Values("Accept"), statuslist.MediaType) {
		refuse(w, r, http.StatusNotAcceptable, "Status lists are served as "+statuslist.MediaType+" only", "ask for that")
		return
	}
	place, err := statuslist.ParsePath(r.PathValue("service") + "/" + r.PathValue("release") + "/" + r.PathValue("list"))
	if err != nil {
		refuse(w, r, http.StatusNotFound, "There is no such status list", "use the uri in a token's claim status.status_list")
		return
	}
	t, err := p.text(r.Context(), place)
	switch {
	case errors.Is(err, ErrNone):
		refuse(w, r, http.StatusNotFound, "There is no such status list, or every token in it has expired", "use the uri in a token's claim status.status_list")
		return
	case err != nil:
		if r.Context().Err() == nil {
			p.cfg.Log.WarnContext(r.Context(), "status list not served", "list", place.Path(), "error", err)
		}
		web.WriteProblem(w, r, web.Problem{
			Status: http.StatusServiceUnavailable, Title: "The status list can't be made now", Code: string(mintmark.CodeStateUnknown),
			Fix: "try again in a moment", RetryAfter: time.Second,
		})
		return
	}
	p.send(w, r, t)
}

func (p *Provider) send(w http.ResponseWriter, r *http.Request, t *text) {
	h := w.Header()
	left := int64((TTL - p.cfg.Now().Sub(t.made)) / time.Second)
	h.Set("Cache-Control", "public, max-age="+strconv.FormatInt(max(left, 0), 10))
	h.Set("Content-Type", statuslist.MediaType)
	body, etag := t.plain, `"`+t.etag+`"`
	if accepts(r.Header.Values("Accept-Encoding"), "gzip") && r.Header.Get("Accept-Encoding") != "" {
		body, etag = t.small, `"`+t.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	for _, have := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == etag || have == "*" {
			h.Del("Content-Encoding")
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the asker is gone: nobody to tell
	}
}

// accepts reports whether a header of preferences (RFC 9110 §12.5) takes a value;
// without the header anything is taken. A quality of 0 is a no.
func accepts(header []string, want string) bool {
	if len(header) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(want, "/")
	best, found := 0, false // the most specific word counts
	for item := range strings.SplitSeq(strings.ToLower(strings.Join(header, ",")), ",") {
		name, params, _ := strings.Cut(item, ";")
		rank := 0
		switch strings.TrimSpace(name) {
		case want:
			rank = 3
		case kind + "/*":
			rank = 2
		case "*/*", "*":
			rank = 1
		}
		if rank > best {
			q, given := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			n, err := strconv.ParseFloat(q, 64)
			best, found = rank, !given || err != nil || n > 0
		}
	}
	return found
}

func refuse(w http.ResponseWriter, r *http.Request, status int, title, fix string) {
	web.WriteProblem(w, r, web.Problem{Status: status, Title: title, Fix: fix})
}
