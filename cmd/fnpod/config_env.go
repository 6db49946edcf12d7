package main

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

const variablePrefix = "FNPOD_"

// variableOf names the variable of a flag: queue-limit is FNPOD_QUEUE_LIMIT.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment holds the variables the process was started with.
type environment map[string]string

func newEnvironment(environ []string) environment {
	env := make(environment, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// lookup returns the value of a variable. An empty variable counts as not set: manifests and compose files
// leave one behind where a value was not given.
func (e environment) lookup(name string) (string, bool) {
	value := e[name]
	return value, value != ""
}

// A warning tells of a variable that looks like a setting and is none.
type warning struct {
	Variable   string
	Suggestion string // the variable that was probably meant; may be empty
}

func (w warning) String() string {
	s := "unknown variable " + w.Variable + " has no effect"
	if w.Suggestion != "" {
		s += "; did you mean " + w.Suggestion + "?"
	}
	return s
}

// serviceLink matches what Kubernetes injects when a service is called fnpod or fnpod-something.
var serviceLink = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^FNPOD_(.+_)?(SERVICE_(HOST|PORT)(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
})

// workerVariables are given to workers, so a process below a worker sees them too.
var workerVariables = []string{
	"FNPOD_WORKER_PROTOCOL", "FNPOD_WORKER_FDS", "FNPOD_WORKER_LANE", "FNPOD_WORKER_HANDLER",
	"FNPOD_WORKER_CONCURRENCY", "FNPOD_WORKER_CONTRACT", "FNPOD_WORKER_INDEX",
}

// unknown reports the FNPOD_* variables that are not among known, sorted by name.
func (e environment) unknown(known []string) []warning {
	var warnings []warning
	for name := range e {
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) ||
			slices.Contains(workerVariables, name) || serviceLink().MatchString(name) {
			continue
		}
		warnings = append(warnings, warning{Variable: name, Suggestion: closest(name, known)})
	}
	slices.SortFunc(warnings, func(a, b warning) int { return strings.Compare(a.Variable, b.Variable) })
	return warnings
}

// closest returns the candidate that differs least from name, or "" when none is near.
func closest(name string, candidates []string) string {
	best, least := "", 4
	for _, c := range candidates {
		if d := distance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace to turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// forFunction is the environment a function gets: ours without our own settings.
func (e environment) forFunction() []string {
	env := make([]string, 0, len(e))
	for name, value := range e {
		if !strings.HasPrefix(name, variablePrefix) {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	return env
}
