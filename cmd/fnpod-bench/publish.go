package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// publishCmd writes what experiments measured into a document: each between its markers, with the command that measured it.
// Experiments without results stay as they are.
type publishCmd struct {
	From string `default:"bench/results" help:"Folder with the results, as scripts/bench writes them."`
	Into string `default:"bench/README.md" help:"The document; plots go beside it."`
}

// parts of a document that are no experiment.
const (
	targetsPart = "targets"
	machinePart = "machine"
)

// Run implements the command.
func (c *publishCmd) Run() error {
	e, err := readEvidence(c.From)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(c.Into)
	if err != nil {
		return err
	}
	text := string(old)
	parts := map[string]string{targetsPart: targetTables(e), machinePart: e.machine()}
	for name, r := range e {
		report, err := os.ReadFile(filepath.Join(c.From, name+".md"))
		if err != nil {
			return err
		}
		parts[name] = fmt.Sprintf("    bin/%s\n\n%s\n", quoted(r.Command), strings.TrimSpace(withoutMachine(string(report))))
	}
	for name, part := range parts {
		if text, err = replacePart(text, name, part); err != nil {
			return fmt.Errorf("%s: %w", c.Into, err)
		}
	}
	if err := os.WriteFile(c.Into, []byte(text), 0o644); err != nil {
		return err
	}
	return c.copyPlots()
}

// copyPlots puts the plots beside the document.
func (c *publishCmd) copyPlots() error {
	plots, err := filepath.Glob(filepath.Join(c.From, "*.svg"))
	if err != nil {
		return err
	}
	for _, plot := range plots {
		text, err := os.ReadFile(plot)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.Into), filepath.Base(plot)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replacePart puts a part between its markers.
func replacePart(text, name, part string) (string, error) {
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end: "+name+" -->\n"
	before, rest, found := strings.Cut(text, begin)
	_, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		return "", fmt.Errorf("the markers %q and %q are not there", begin, end)
	}
	return before + begin + part + end + after, nil
}

// withoutMachine leaves out the line that says where and when: the document says it once.
func withoutMachine(report string) string {
	lines := slices.DeleteFunc(strings.Split(report, "\n"), func(line string) bool {
		return strings.Contains(line, " processors (") && strings.Contains(line, ", Linux ")
	})
	return strings.Join(lines, "\n")
}

// machine tells where and when it was measured, and what.
func (e evidence) machine() string {
	names := make([]string, 0, len(e))
	for name := range e {
		names = append(names, name)
	}
	slices.Sort(names)
	first, last := e[names[0]], e[names[0]]
	var noisy []string
	for _, name := range names {
		r := e[name]
		if r.Date.Before(first.Date) {
			first = r
		}
		if r.Date.After(last.Date) {
			last = r
		}
		if r.TooNoisy {
			noisy = append(noisy, name)
		}
	}
	m := last.Machine
	text := fmt.Sprintf("%s to %s UTC; %s. %d processors (%s), Linux %s, %s.\n",
		first.Date.Format("2006-01-02 15:04"), last.Date.Format("15:04"), last.Fnpod, m.Processors, m.Model, m.Kernel, m.Go)
	if len(noisy) > 0 {
		text += fmt.Sprintf("\n**Others used the machine too much to judge by the figures of %s**: more than a quarter of their samples are above the limit of noise.\n", strings.Join(noisy, ", "))
	}
	return text
}
