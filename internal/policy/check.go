package policy

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
)

// rules are what a field's check tag demands. The words are: required, nonempty,
// min=N, max=N, enum=a|b, and the forms name, url, upstream, redirect, path, host
// and method. On a list or map they apply to each item.
type rules struct {
	required, nonempty bool
	min, max           *int64
	enum               []string
	form               string
}

func parseRules(tag string) rules {
	var r rules
	for word := range strings.SplitSeq(tag, ",") {
		name, arg, _ := strings.Cut(word, "=")
		switch name {
		case "required":
			r.required = true
		case "nonempty":
			r.nonempty = true
		case "min", "max":
			n, _ := strconv.ParseInt(arg, 10, 64)
			if name == "min" {
				r.min = &n
			} else {
				r.max = &n
			}
		case "enum":
			r.enum = strings.Split(arg, "|")
		default:
			r.form = name
		}
	}
	return r
}

func (r rules) number(x int64) string {
	switch {
	case r.min != nil && x < *r.min:
		return fmt.Sprintf("%d is too small: at least %d", x, *r.min)
	case r.max != nil && x > *r.max:
		return fmt.Sprintf("%d is too large: at most %d", x, *r.max)
	}
	return ""
}

// text returns what is wrong with a text and how to mend it, or nothing.
func (r rules) text(s string) (message, fix string) {
	if r.required && s == "" {
		return "must not be empty", ""
	}
	if r.enum != nil {
		for _, e := range r.enum {
			if s == e {
				return "", ""
			}
		}
		return fmt.Sprintf("%q is not known here", short(s)), suggest(s, r.enum)
	}
	switch r.form {
	case "name":
		if !mintmark.IsName(s) {
			return fmt.Sprintf("%q can't be a name", short(s)), "use 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
		}
	case "url":
		return checkURL(s, "https", "http")
	case "upstream":
		m, f := checkURL(s, "http", "https", "h2c")
		if u, err := url.Parse(s); m == "" && err == nil && (u.RawQuery != "" || strings.Trim(u.Path, "/") != "") {
			return fmt.Sprintf("%q has a path or query", short(s)), "give scheme and host only; use transform.add_prefix on the route"
		}
		return m, f
	case "redirect":
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || u.Fragment != "" || strings.ContainsAny(s, "* \t\r\n") || (u.Host == "" && u.Opaque == "" && u.Path == "") {
			return fmt.Sprintf("%q is not an absolute URI without fragment", short(s)), ""
		}
	case "path":
		return checkPath(s)
	case "host":
		h := strings.TrimPrefix(s, "*.")
		if h == "" || h != strings.ToLower(h) || strings.ContainsAny(h, "*/: \t") {
			return fmt.Sprintf("%q is not a host name", short(s)), "write shop.example or *.example in lower case, without port"
		}
	case "method":
		if s == "" || s != strings.ToUpper(s) || strings.ContainsAny(s, " \t/") {
			return fmt.Sprintf("%q is not a method", short(s)), "write methods in upper case, such as GET"
		}
	}
	return "", ""
}

func checkURL(s string, schemes ...string) (message, fix string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Sprintf("%q is not an address", short(s)), "write one like https://host.example/path, without user or fragment"
	}
	for _, ok := range schemes {
		if u.Scheme == ok {
			return "", ""
		}
	}
	return fmt.Sprintf("scheme %q is not used here", short(u.Scheme)), "use " + strings.Join(schemes, ", ")
}

func checkPath(s string) (message, fix string) {
	if !strings.HasPrefix(s, "/") {
		return fmt.Sprintf("%q does not begin with /", short(s)), "write /" + short(s)
	}
	body := strings.TrimSuffix(s, "/*")
	if strings.ContainsAny(body, "*?#\\ \t") || strings.Contains(body, "//") || strings.Contains(s, "%") {
		return fmt.Sprintf("%q is not a path pattern", short(s)), "use /a/b, /a/{name} or a prefix /a/*; no query, no encoded characters"
	}
	for seg := range strings.SplitSeq(body, "/") {
		if seg == "." || seg == ".." {
			return fmt.Sprintf("%q has a dot segment", short(s)), ""
		}
		if strings.ContainsAny(seg, "{}") && (len(seg) < 3 || seg[0] != '{' || seg[len(seg)-1] != '}' || strings.ContainsAny(seg[1:len(seg)-1], "{}")) {
			return fmt.Sprintf("%q: braces must surround a whole segment", short(s)), "write /{name}/"
		}
	}
	return "", ""
}
