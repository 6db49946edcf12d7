package kubeless

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one value that was read, for people.
type Setting struct {
	Name, Value string
	Set         bool // the environment has it; else it is the default
}

// reader reads the environment and collects what is wrong in it.
type reader struct {
	lookup func(name string) (string, bool)
	errs   []error
	read   []Setting
}

func (r *reader) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *reader) err() error { return errors.Join(r.errs...) }

// text returns a value, or another one if it is not set or empty.
func (r *reader) text(name, otherwise string) string {
	v, _ := r.lookup(name)
	set := v != ""
	if !set {
		v = otherwise
	}
	r.read = append(r.read, Setting{Name: name, Value: v, Set: set})
	return v
}

// required returns a value that must be set; which says what it is.
func (r *reader) required(name, which string) string {
	v := r.text(name, "")
	if v == "" {
		r.fail("%s is not set: it must be %s", name, which)
	}
	return v
}

// number returns a whole number within bounds.
func (r *reader) number(name string, otherwise, low, high int64) int64 {
	text := r.text(name, strconv.FormatInt(otherwise, 10))
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < low || n > high {
		r.fail("%s %q: must be a whole number from %d to %d", name, text, low, high)
		return otherwise
	}
	return n
}

// amount returns a number of units, of which there may be parts, as so many of what a unit has.
func (r *reader) amount(name string, otherwise, unit int64, units string, most int64) int64 {
	text := r.text(name, strconv.FormatInt(otherwise, 10))
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n > 0) || n > float64(most) {
		r.fail("%s %q: must be a number of %s, more than 0 and at most %d", name, text, units, most)
		return otherwise * unit
	}
	return max(int64(math.Round(n*float64(unit))), 1)
}

// seconds returns a time.
func (r *reader) seconds(name string, otherwise int64) time.Duration {
	return time.Duration(r.amount(name, otherwise, int64(time.Second), "seconds", 365*24*3600))
}

// oneOf returns a value from a list, whose first one is the default.
func (r *reader) oneOf(name string, allowed ...string) string {
	v := r.text(name, allowed[0])
	if !slices.Contains(allowed, v) {
		r.fail("%s %q: must be %s", name, v, strings.Join(allowed, " or "))
		return allowed[0]
	}
	return v
}

func (r *reader) flag(name string) bool { return r.oneOf(name, "false", "true") == "true" }
