package rollout

import (
	"fmt"
	"slices"
	"time"
)

// Window is a time in which no rollout comes forward: either every week, on Days
// from From to To in Zone, or once, from Begin to End. What takes a candidate back
// is never frozen.
type Window struct {
	Name string `json:"name,omitempty"`
	// Days are the days on which it begins; empty is every day. From and To are
	// minutes after midnight on the clock of Zone; To at or before From is on the
	// next day.
	Days []time.Weekday `json:"days,omitempty"`
	From int            `json:"from,omitempty"`
	To   int            `json:"to,omitempty"`
	Zone string         `json:"zone,omitempty"` // IANA name; UTC when empty
	// Begin and End are Unix milliseconds; both 0 for a weekly window.
	Begin int64 `json:"begin,omitempty"`
	End   int64 `json:"end,omitempty"`
}

// Check reports what is wrong with a window.
func (w Window) Check() error {
	if w.Begin != 0 || w.End != 0 {
		if w.End <= w.Begin {
			return fmt.Errorf("%w: window %.70q ends before it begins", ErrInvalid, w.Name)
		}
		return nil
	}
	if w.From < 0 || w.From >= 24*60 || w.To < 0 || w.To > 24*60 {
		return fmt.Errorf("%w: window %.70q: want times from 00:00 to 24:00", ErrInvalid, w.Name)
	}
	if _, err := time.LoadLocation(w.Zone); err != nil {
		return fmt.Errorf("%w: window %.70q: time zone %.60q is not known", ErrInvalid, w.Name, w.Zone)
	}
	return nil
}

// At reports whether the window holds at a time (Unix milliseconds), and until
// when. Where a zone's clock is put forward or back, the window goes by the clock
// on the wall: it may be an hour shorter or longer than usual. A zone that is no
// longer known counts as UTC: a freeze is not lost with a file.
func (w Window) At(now int64) (until int64, frozen bool) {
	if w.Begin != 0 || w.End != 0 {
		return w.End, now >= w.Begin && now < w.End
	}
	loc, err := time.LoadLocation(w.Zone)
	if err != nil {
		loc = time.UTC
	}
	local := time.UnixMilli(now).In(loc)
	for _, back := range []int{0, 1} { // begun today, or yesterday
		y, m, d := local.AddDate(0, 0, -back).Date()
		begin := time.Date(y, m, d, 0, w.From, 0, 0, loc)
		if len(w.Days) > 0 && !slices.Contains(w.Days, time.Date(y, m, d, 12, 0, 0, 0, loc).Weekday()) {
			continue
		}
		if w.To <= w.From {
			d++
		}
		end := time.Date(y, m, d, 0, w.To, 0, 0, loc)
		if ms := end.UnixMilli(); now >= begin.UnixMilli() && now < ms {
			return ms, true
		}
	}
	return 0, false
}

// Frozen returns the first window that holds at a time, and when the last of those
// that follow on it ends.
func Frozen(windows []Window, now int64) (name string, until int64, frozen bool) {
	for range 32 { // a chain without end is cut: whoever asks again learns the rest
		grew := false
		for _, w := range windows {
			if end, ok := w.At(max(now, until)); ok && end > until {
				if !frozen {
					name = w.Name
				}
				until, frozen, grew = end, true, true
			}
		}
		if !grew {
			break
		}
	}
	return name, until, frozen
}
