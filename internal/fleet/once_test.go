package fleet

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
)

func TestCheckOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		q  bus.OnceRequest
		ok bool
	}{
		"a proof":               {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(time.Minute)}, true},
		"the longest":           {bus.OnceRequest{Space: "dpop", Key: strings.Repeat("k", bus.MaxOnceKey), Expires: in(bus.MaxOnceLife)}, true},
		"the authority's marks": {bus.OnceRequest{Space: "assertion", Key: "k", Expires: in(time.Minute)}, false},
		"no kind":               {bus.OnceRequest{Key: "k", Expires: in(time.Minute)}, false},
		"no key":                {bus.OnceRequest{Space: "dpop", Expires: in(time.Minute)}, false},
		"a long key":            {bus.OnceRequest{Space: "dpop", Key: strings.Repeat("k", bus.MaxOnceKey+1), Expires: in(time.Minute)}, false},
		"over":                  {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(0)}, false},
		"no end":                {bus.OnceRequest{Space: "dpop", Key: "k"}, false},
		"too long":              {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(bus.MaxOnceLife + time.Second)}, false},
		"the end of time":       {bus.OnceRequest{Space: "dpop", Key: "k", Expires: math.MaxInt64}, false},
		"before time":           {bus.OnceRequest{Space: "dpop", Key: "k", Expires: math.MinInt64}, false},
	} {
		if err := checkOnce(&c.q, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
