package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// targetsCmd compares what experiments measured with what fnpod is meant to reach.
type targetsCmd struct {
	From string `default:"bench/results" help:"Folder with the results, as scripts/bench writes them."`
}

// Run implements the command.
func (c *targetsCmd) Run(out io.Writer) error {
	e, err := readEvidence(c.From)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, targetTables(e))
	return err
}

// target is something that fnpod is meant to reach.
type target struct {
	what  string
	bound float64 // allowed are values up to it
	least bool    // allowed are values from it on instead
	unit  string
	by    string // the experiment that shows it, or another command
	cases []measured
	peers []peerCases
}

// peerCases are the figures of another program in the place of fnpod: what can be reached.
type peerCases struct {
	name  string
	cases []measured
}

// inPlace tells what others reach.
func (t target) inPlace() string {
	var all []string
	for _, p := range t.peers {
		var shown []string
		for _, m := range p.cases {
			if !m.ok {
				continue
			}
			shown = append(shown, m.labelled(m.text()))
		}
		if len(shown) > 0 {
			all = append(all, p.name+" "+strings.Join(shown, ", "))
		}
	}
	return strings.Join(all, "; ")
}

// measured is a case of a target, such as a number of connections.
type measured struct {
	label string
	value float64
	ok    bool // it was measured
}

// text is the value.
func (m measured) text() string { return strings.TrimSpace(format(m.value)) }

// labelled puts the label before a text.
func (m measured) labelled(text string) string {
	if m.label == "" {
		return text
	}
	return m.label + ": " + text
}

// single is a target's only case.
func single(value float64, ok bool) []measured { return []measured{{value: value, ok: ok}} }

// holds tells whether a value reaches the target, as it is or as it is shown.
func (t target) holds(value float64) bool {
	shown, err := strconv.ParseFloat(format(value), 64)
	if err != nil {
		shown = value
	}
	if t.least {
		return max(value, shown) >= t.bound
	}
	return min(value, shown) <= t.bound
}

// row is what the table says of a target.
func (t target) row() []string {
	sign := "≤ "
	if t.least {
		sign = "≥ "
	}
	var shown, missed []string
	for _, m := range t.cases {
		if !m.ok {
			continue
		}
		text := m.text()
		if !t.holds(m.value) {
			text = "**" + text + "**"
			missed = append(missed, m.label)
		}
		shown = append(shown, m.labelled(text))
	}
	verdict := "met"
	switch {
	case len(t.cases) == 0:
		verdict, shown = "a test", []string{"–"}
	case len(shown) == 0:
		verdict, shown = "not measured", []string{"–"}
	case len(missed) == len(shown):
		verdict = "**missed**"
	case len(missed) > 0:
		verdict = "**missed** at " + strings.Join(missed, ", ")
	}
	return []string{t.what, strings.TrimSpace(sign + trimmed(t.bound) + " " + t.unit), strings.Join(shown, ", "), verdict, t.inPlace(), "`" + t.by + "`"}
}

// trimmed shows a bound without digits that say nothing.
func trimmed(v float64) string { return fmt.Sprintf("%.4g", v) }

// targetTables has a table for each group of targets, and what was counted.
func targetTables(e evidence) string {
	var b strings.Builder
	met, missed, open := 0, 0, 0
	var text strings.Builder
	for _, g := range allTargets(e) {
		rows := [][]string{{"what", "target", "measured", "", "others in its place", "by"}}
		for _, t := range g.targets {
			row := t.row()
			switch {
			case strings.Contains(row[3], "missed"):
				missed++
			case row[3] == "met":
				met++
			default:
				open++
			}
			rows = append(rows, row)
		}
		fmt.Fprintf(&text, "**%s**\n\n%s\n", g.name, table(rows))
	}
	fmt.Fprintf(&b, "%d targets are met, %d are missed, %d have no figure here. Ratios are fnpod's figure divided by the other one's, the median of the rounds. Others in its place are the same ratio for programs that do less, or the same in another way.\n\n", met, missed, open)
	return b.String() + text.String() + commandList(e)
}

// commandList are the commands that measured.
func commandList(e evidence) string {
	var b strings.Builder
	b.WriteString("The commands, after `make bench-build`; PATH is where the other program is:\n\n")
	names := make([]string, 0, len(e))
	for name := range e {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		noisy := ""
		if e[name].TooNoisy {
			noisy = "   # the machine was too busy to judge"
		}
		fmt.Fprintf(&b, "    %-10s bin/%s%s\n", name+":", quoted(e[name].Command), noisy)
	}
	return b.String() + "\n"
}

// quoted is a command as a shell takes it.
func quoted(args []string) string {
	words := slices.Clone(args)
	for i, word := range words {
		if strings.ContainsAny(word, " |()*^$&;<>") {
			words[i] = "'" + word + "'"
		}
	}
	return strings.Join(words, " ")
}

// group is a table of targets.
type group struct {
	name    string
	targets []target
}
