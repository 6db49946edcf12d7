package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/queue"
)

// queueClass is one class: its rights, and which requests are of it.
type queueClass struct {
	queue.Class
	proxy.ClassRule

	name string
}

// queueClasses are all classes, in order of priority. The last takes what no rule matches.
type queueClasses []queueClass

var errClasses = errors.New("must be NAME=SHARE%[/KEEP%]:RULE;… with a RULE path:/PREFIX, header:NAME, header:NAME=VALUE or *, shares of 100% together at most")

func (c *queueClasses) parse(text string, _ *kong.Tag) error {
	if text == "" {
		*c = nil
		return nil
	}
	var all queueClasses
	sum := 0.0
	for part := range strings.SplitSeq(text, ";") {
		class, err := parseClass(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		sum += class.Share
		all = append(all, class)
	}
	if sum > 1 {
		return errClasses
	}
	if last := all[len(all)-1].ClassRule; last != (proxy.ClassRule{}) { // the rest is a class without rights
		all = append(all, queueClass{name: "rest"})
	}
	*c = all
	return nil
}

func parseClass(text string) (c queueClass, err error) {
	name, rest, named := strings.Cut(text, "=")
	rights, rule, ruled := strings.Cut(rest, ":")
	share, keep, keeps := strings.Cut(rights, "/")
	if !named || !ruled || name == "" {
		return c, errClasses
	}
	c.name = name
	if c.Share, err = parsePercent(share); err != nil {
		return c, err
	}
	if keeps {
		if c.Keep, err = parsePercent(keep); err != nil {
			return c, err
		}
	}
	kind, what, _ := strings.Cut(rule, ":")
	switch {
	case rule == "*":
	case kind == "path" && strings.HasPrefix(what, "/"):
		c.Path = what
	case kind == "header":
		c.Field, c.Value, _ = strings.Cut(what, "=")
		if !http1.ValidName(c.Field) {
			return c, errClasses
		}
	default:
		return c, errClasses
	}
	return c, nil
}

func parsePercent(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		return 0, errClasses
	}
	return v / 100, nil
}

func (c *queueClasses) String() string {
	var parts []string
	for _, class := range *c {
		rule := "*"
		switch {
		case class.Path != "":
			rule = "path:" + class.Path
		case class.Field != "" && class.Value != "":
			rule = "header:" + class.Field + "=" + class.Value
		case class.Field != "":
			rule = "header:" + class.Field
		}
		rights := fmt.Sprintf("%v%%", class.Share*100)
		if class.Keep > 0 {
			rights += fmt.Sprintf("/%v%%", class.Keep*100)
		}
		parts = append(parts, class.name+"="+rights+":"+rule)
	}
	return strings.Join(parts, ";")
}

// rules are how proxy tells the classes apart.
func (c queueClasses) rules() (rules []proxy.ClassRule) {
	for _, class := range c {
		rules = append(rules, class.ClassRule)
	}
	return rules
}

// fairness says whose requests share their turns.
type fairness proxy.Fairness

var errFairness = errors.New("must be off, client or header:NAME")

func (f *fairness) parse(text string, _ *kong.Tag) error {
	switch name, isField := strings.CutPrefix(text, "header:"); {
	case text == "off":
		*f = fairness{}
	case text == "client":
		*f = fairness{Client: true}
	case isField && http1.ValidName(name):
		*f = fairness{Field: name}
	default:
		return errFairness
	}
	return nil
}

func (f *fairness) String() string {
	switch {
	case f.Field != "":
		return "header:" + f.Field
	case f.Client:
		return "client"
	default:
		return "off"
	}
}
