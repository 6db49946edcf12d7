// Package wrapper holds the language side of warm workers: one self-contained program per language that speaks
// the worker protocol on inherited pipes and calls the function's handler.
package wrapper

import (
	_ "embed" // the sources below
	"strconv"
	"strings"
)

//go:embed python.py
var pythonCore string

//go:embed python_later.py
var pythonLater string

// Python is the source of the Python worker, for Python 3.8 and later. Run it as `python3 FILE` or
// `python3 -c SOURCE`; it reads its settings from FNPOD_WORKER_* variables and imports nothing but the standard library.
var Python = join(pythonCore, pythonLater)

// Node is the source of the Node worker, for Node 16 and later. Run it as `node --preserve-symlinks-main FILE`, where
// FILE may be a link in /proc, or as `node -e SOURCE`; it needs nothing but Node.
//
//go:embed node.js
var Node string

// join puts the part that is compiled on first use into the part that every start compiles, as a string: parsing it
// at once would double the wrapper's share of the start-up time.
func join(core, later string) string {
	return strings.Replace(core, "\nLATER = \"\"\n", "\nLATER = "+strconv.QuoteToASCII(later)+"\n", 1)
}
