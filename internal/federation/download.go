package federation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/web"
)

// checkURL demands https, or http to a loopback address where allowed.
func (i *Issuer) checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("issuer %.60q: %.200q is not a plain URL", i.Part.Name, text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && i.LoopbackHTTP && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("issuer %.60q: %.200q must be https", i.Part.Name, text)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// download returns an issuer's keys and for how long they need not be asked for.
func (f *Federation) download(ctx context.Context, i *Issuer) ([]epoch.Key, time.Duration, error) {
	uri := i.JWKSURI
	if i.Discovery {
		d, err := f.discover(ctx, i)
		if err != nil {
			return nil, 0, err
		}
		uri = d.JWKSURI
	}
	if err := i.checkURL(uri); err != nil {
		return nil, 0, err
	}
	a, err := f.get(ctx, uri)
	if err != nil {
		return nil, 0, err
	}
	set, err := jose.ParseSet(a.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("read keys from %.200s: %w", uri, err)
	}
	if len(set.Skipped) > 0 {
		f.c.Log.DebugContext(ctx, "keys of an issuer are not used", "issuer", i.Part.Name, "keys", set.Skipped)
	}
	return epochKeys(set, i.Algs), ttl(a.Header.Get("Cache-Control")), nil
}

// discover reads the issuer's metadata, wherever of the two places it is.
func (f *Federation) discover(ctx context.Context, i *Issuer) (oauth.Discovered, error) {
	u, err := url.Parse(i.Part.Issuer)
	if err != nil {
		return oauth.Discovered{}, fmt.Errorf("issuer URL: %w", err)
	}
	var all error
	for _, place := range oauth.MetadataPaths(u.Scheme+"://"+u.Host, u.EscapedPath()) {
		a, err := f.get(ctx, place)
		if err == nil {
			var d oauth.Discovered
			if d, err = oauth.ParseMetadata(a.Body, i.Part.Issuer); err == nil {
				return d, nil
			}
			err = fmt.Errorf("%.200s: %w, or of another issuer", place, err)
		}
		all = errors.Join(all, err)
	}
	return oauth.Discovered{}, all
}

func (f *Federation) get(ctx context.Context, uri string) (web.Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return web.Answer{}, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	a, err := f.c.Egress.Do(ctx, r)
	if err != nil {
		return a, err
	}
	if a.Status != http.StatusOK {
		return a, fmt.Errorf("get %.200s: status %d", uri, a.Status)
	}
	return a, nil
}

// ttl reads max-age (RFC 9111 §5.2.2.1), within our bounds.
func ttl(cacheControl string) time.Duration {
	for d := range strings.SplitSeq(strings.ToLower(cacheControl), ",") {
		age, ok := strings.CutPrefix(strings.TrimSpace(d), "max-age=")
		if !ok {
			continue
		}
		if s, err := strconv.ParseUint(strings.Trim(age, `"`), 10, 31); err == nil {
			return min(max(time.Duration(s)*time.Second, minTTL), maxTTL)
		}
	}
	return defaultTTL
}
