package watchdog

import (
	"errors"
	"log/slog"
	"os"
	"time"
)

// DefaultGrace is the time between SIGTERM and SIGKILL when Config.Grace is 0.
const DefaultGrace = 5 * time.Second

// DefaultOutputRate is the output in bytes per second that one process may
// write when Config.OutputRate is 0.
const DefaultOutputRate = 1 << 20

// DefaultOOMScoreAdj is added to our own oom_score_adj for a process when
// Config.OOMScoreAdj is 0: a tenth of the memory limit, more than we use.
const DefaultOOMScoreAdj = 100

// Config says what to start and how. Only Path is required. A Config may be
// used for any number of processes, also at the same time.
type Config struct {
	// Path is the program. It is not looked up in PATH; a relative path is
	// relative to Dir.
	Path string
	// Args is the complete argument vector with the program's own name first.
	// When it is empty, Path is the only argument.
	Args []string
	// Env is the complete environment. Our own is not added to it; Mark is.
	Env []string
	// Dir is the working directory; empty means ours.
	Dir string
	// Extra become descriptors 3, 4, 5 and so on of the process. Besides
	// these and its standard streams nothing reaches it. The files are put
	// into blocking mode and stay open here: the caller closes them.
	Extra []*os.File
	// Stdin is the standard input; nil means /dev/null. The caller closes it.
	Stdin *os.File
	// Output is called with each line of standard output and standard error,
	// from one goroutine per stream. It must not block for long: the process
	// waits for it once its pipe is full. When Output is nil the process
	// writes to our own standard output and standard error.
	Output func(Line)
	// OutputRate bounds what reaches Output, in bytes per second over both
	// streams, with bursts of one second; a short line counts as 64 bytes. More
	// is read and dropped. 0 means DefaultOutputRate, less than 0 means no bound.
	OutputRate int
	// Lines says what becomes of long lines.
	Lines LineRule
	// Grace is the time from SIGTERM to SIGKILL in Stop; 0 means DefaultGrace.
	Grace time.Duration
	// OOMScoreAdj is added to our own oom_score_adj, so that the kernel, short
	// of memory, takes the process and not us. 0 means DefaultOOMScoreAdj,
	// less than 0 leaves the score as it is.
	OOMScoreAdj int
	// Log gets what the operator should know of; nil discards it.
	Log *slog.Logger
}

var errNoPath = errors.New("watchdog: no program to start")

// withDefaults returns c with every zero setting replaced by its default.
func (c Config) withDefaults() (Config, error) {
	if c.Path == "" {
		return c, errNoPath
	}
	if len(c.Args) == 0 {
		c.Args = []string{c.Path}
	}
	if c.Grace <= 0 {
		c.Grace = DefaultGrace
	}
	if c.OutputRate == 0 {
		c.OutputRate = DefaultOutputRate
	}
	if c.OOMScoreAdj == 0 {
		c.OOMScoreAdj = DefaultOOMScoreAdj
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
