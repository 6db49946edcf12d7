package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/fnpod/fnpod/workers"
)

// warmups are requests that each new worker has to answer.
type warmups []workers.Warmup

var errWarmups = errors.New("must be [METHOD] PATH [@FILE] [xTIMES];…")

func (w *warmups) parse(text string, _ *kong.Tag) error {
	var all warmups
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		u, err := parseWarmup(words)
		if err != nil {
			return err
		}
		all = append(all, u)
	}
	*w = all
	return nil
}

func parseWarmup(words []string) (workers.Warmup, error) {
	u := workers.Warmup{Method: "GET", Times: 1}
	if words[0][0] != '/' {
		u.Method, words = words[0], words[1:]
	}
	if len(words) == 0 || words[0][0] != '/' {
		return u, errWarmups
	}
	u.Target, words = words[0], words[1:]
	if len(words) > 0 && words[0][0] == '@' {
		body, err := os.ReadFile(words[0][1:])
		if err != nil {
			return u, err
		}
		u.Body, words = body, words[1:]
	}
	if len(words) > 0 {
		times, err := strconv.ParseUint(strings.TrimPrefix(words[0], "x"), 10, 31)
		if err != nil || words[0][0] != 'x' || len(words) > 1 {
			return u, errWarmups
		}
		u.Times = int(times) //nolint:gosec // 31 bits
	}
	return u, nil
}

// String returns the requests as they may be written; a body as the number of its bytes.
func (w *warmups) String() string {
	parts := make([]string, len(*w))
	for i, u := range *w {
		parts[i] = u.String()
		if len(u.Body) > 0 {
			parts[i] += fmt.Sprintf(" @(%d bytes)", len(u.Body))
		}
		if u.Times != 1 {
			parts[i] += fmt.Sprintf(" x%d", u.Times)
		}
	}
	return strings.Join(parts, "; ")
}
