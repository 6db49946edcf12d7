package workers

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/wrapper"
)

// Config says which function to run and how many workers run it. The zero value
// is not usable; start from DefaultConfig and set Handler. All sizes are bytes.
type Config struct {
	Handler     Handler  // the function, see ParseHandler
	Interpreter string   // program that runs it; empty: the language's own name, looked up in Path
	Options     []string // of the interpreter, before ours
	// Command replaces interpreter and built-in wrapper: a program, found in Path,
	// and its arguments, that speaks the worker protocol itself. Handler is handed
	// to it as it is, and may be empty.
	Command []string
	// Contract says how the handler is called: native, or one of those that OpenFaaS' templates have. Not every language
	// has every one.
	Contract string
	Env      []string // the complete environment of the workers, apart from FNPOD_WORKER_*
	Path     string   // where programs are looked up, like $PATH
	Dir      string   // working directory; empty: the folder of the handler's file

	Warmup []Warmup // what each new worker has to answer before it gets requests
	// Watch has the function loaded anew when its files change, for development. A function that does not start is no
	// reason for Run to end then.
	Watch bool

	// WithoutRequestID keeps the id that we give to a request without an X-Request-Id from the function.
	WithoutRequestID bool
	// Turns gives each request to the worker that has been idle longest, instead of the one that was busy last.
	Turns bool
	// Ran is told of each request that a worker was given, how long it ran. Workers are known by their index, see
	// the variable FNPOD_WORKER_INDEX. nil: nobody is told. It may be called by several goroutines at once.
	Ran func(index int, took time.Duration)

	Min         int           // workers kept even without work; 0: the first request starts one
	Max         int           // most workers, successors of recycled ones aside
	IdleTimeout time.Duration // workers above Min end after as long without work; 0: never

	StartTimeout time.Duration // from start to ready
	Timeout      time.Duration // longest run of one request; 0: only its own deadline counts
	ClientGrace  time.Duration // time a function has to finish after its client left; 0: killed at once
	Grace        time.Duration // time a worker has to end when it is told to

	// ClientGone is the cause, as an Exchange reports it, after which ClientGrace
	// applies. After any other interruption the worker is killed at once. nil: after
	// every interruption.
	ClientGone error

	MaxRequests int           // a worker is replaced after about as many requests; 0: never
	MaxAge      time.Duration // a worker is replaced after about as long; 0: never
	MaxRSS      int64         // a worker that is larger between requests is replaced; 0: no limit
	LaneBytes   int           // size of each window of the body lane; 0: no lane
	Concurrency int           // requests that one worker runs at once, if its wrapper and its handler can

	Log *slog.Logger // nil: no log
	// Output gets each line that workers print, and those of tracebacks; it may be called by several goroutines at once. nil: lines are records
	// of Log.
	Output func(watchdog.Line)
}

// DefaultConfig returns one to as many workers as there are processors for us.
func DefaultConfig() Config {
	return Config{
		Contract:     wrapper.Native,
		Path:         "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		Min:          1,
		Max:          runtime.GOMAXPROCS(0),
		IdleTimeout:  time.Minute,
		StartTimeout: time.Minute,
		ClientGrace:  5 * time.Second,
		Grace:        5 * time.Second,
		LaneBytes:    1 << 20,
		Concurrency:  1,
	}
}

// page is a multiple of every page size in use.
const page = 64 << 10

// Validate reports every value that cannot work, joined into one error.
func (c Config) Validate() error {
	var errs []error
	between := func(name string, v, low, high int64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d: allowed are %d to %d", name, v, low, high))
		}
	}
	atLeast := func(name string, d, low time.Duration) {
		if d < low {
			errs = append(errs, fmt.Errorf("%s %v: must be at least %v", name, d, low))
		}
	}
	between("workers-max", int64(c.Max), 1, 4096)
	between("workers-min", int64(c.Min), 0, int64(max(c.Max, 1)))
	atLeast("workers-idle-timeout", c.IdleTimeout, 0)
	atLeast("workers-start-timeout", c.StartTimeout, time.Millisecond)
	atLeast("workers-timeout", c.Timeout, 0)
	atLeast("workers-client-grace", c.ClientGrace, 0)
	atLeast("workers-grace", c.Grace, 0)
	between("workers-max-requests", int64(c.MaxRequests), 0, 1<<40)
	atLeast("workers-max-age", c.MaxAge, 0)
	between("workers-max-rss", c.MaxRSS, 0, 1<<50)
	between("workers-lane-bytes", int64(c.LaneBytes), 0, 64<<20)
	if c.LaneBytes%page != 0 {
		errs = append(errs, fmt.Errorf("workers-lane-bytes %d: must be a multiple of %d", c.LaneBytes, page))
	}
	between("workers-concurrency", int64(c.Concurrency), 1, 1<<16-1)
	for i := range c.Warmup {
		if err := c.Warmup[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := c.validateProgram(); err != nil {
		errs = append(errs, err)
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("workers-dir %q: must be an absolute path", c.Dir))
	}
	return errors.Join(errs...)
}

func (c Config) validateProgram() error {
	if len(c.Command) == 0 {
		if err := c.Handler.validate(); err != nil {
			return err
		}
		if l := c.Handler.language(); !slices.Contains(l.contracts, c.Contract) {
			return fmt.Errorf("contract %q: for %s there are %s", c.Contract, l.name, strings.Join(l.contracts, ", "))
		}
	}
	_, err := c.Program()
	return err
}
