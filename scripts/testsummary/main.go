// Command testsummary reads the output of go test -json and prints what go test itself would: the output of tests
// that failed and one line for each package. It counts the tests, names those that were skipped, and exits with 1
// when a test failed, was skipped or did not end.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if !summarise(os.Stdin, os.Stdout) {
		os.Exit(1)
	}
}

// event is one line of go test -json, as go doc test2json describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

// summary is what has been read so far.
type summary struct {
	out     io.Writer
	output  map[string][]string // of tests that run, by package and test
	seed    map[string]string   // of the order of the tests, by package
	passed  int
	failed  int
	skipped []string
}

// summarise copies a test run from r to w and tells whether all is well.
func summarise(r io.Reader, w io.Writer) bool {
	s := &summary{out: w, output: map[string][]string{}, seed: map[string]string{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if err != nil {
			return s.end(err)
		}
	}
}

// line takes one line; what is no event, such as the output of make, goes on as it is.
func (s *summary) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(s.out, line)
		return
	}
	id := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		s.print(e, id)
	case "run":
		s.output[id] = []string{}
	case "pass", "skip", "fail":
		s.done(e, id)
	}
}

// print keeps the output of a test until it is known whether anyone wants to see it.
func (s *summary) print(e event, id string) {
	kept, running := s.output[id]
	switch {
	case e.Test != "" && running:
		s.output[id] = append(kept, e.Output)
	case e.Test == "" && strings.HasPrefix(e.Output, "-test.shuffle "):
		s.seed[e.Package] = e.Output
	case e.Test == "" && e.Output == "PASS\n":
	default:
		fmt.Fprint(s.out, e.Output)
	}
}

func (s *summary) done(e event, id string) {
	output := strings.Join(s.output[id], "")
	delete(s.output, id)
	if e.Test == "" {
		if e.Action == "fail" {
			s.failed++ // a package can fail without a test that does
			fmt.Fprint(s.out, s.seed[e.Package])
		}
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped = append(s.skipped, id)
		fmt.Fprint(s.out, output)
	default:
		s.failed++
		fmt.Fprint(s.out, output)
	}
}

func (s *summary) end(err error) bool {
	var unfinished []string
	for id := range s.output {
		unfinished = append(unfinished, id)
	}
	slices.Sort(unfinished)
	for _, id := range unfinished {
		fmt.Fprintf(s.out, "did not end: %s\n%s", id, strings.Join(s.output[id], ""))
	}
	for _, id := range s.skipped {
		fmt.Fprintf(s.out, "skipped, but should have run: %s\n", id)
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, len(s.skipped))
	if !errors.Is(err, io.EOF) {
		fmt.Fprintf(s.out, "read: %v\n", err)
		return false
	}
	return s.passed > 0 && s.failed == 0 && len(s.skipped) == 0 && len(unfinished) == 0
}
