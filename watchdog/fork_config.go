package watchdog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog/zygote"
)

// ForkMode says when the output of a process goes to the client.
type ForkMode uint8

// The modes of a Fork.
const (
	Streaming   ForkMode = iota // as it comes
	Serializing                 // when the process has ended well
)

// Launcher says how a process comes to be.
type Launcher uint8

// The launchers of a Fork.
const (
	Exec    Launcher = iota // the command is started when its request has come
	Standby                 // it was started before, and waits on its standard input for its one request
	// Zygote is for scripts of Python, Ruby and Perl: a process of the interpreter that has loaded what the script needs forks
	// one for each request. Where that cannot be, or not now, it is Exec. Orphans have to come to us (SetSubreaper).
	Zygote
)

var launcherNames = [...]string{Exec: "exec", Standby: "standby", Zygote: "zygote"}

// String returns the launcher's name.
func (l Launcher) String() string { return launcherNames[l] }

// ParseLauncher returns the launcher of a name.
func ParseLauncher(name string) (Launcher, error) {
	if i := slices.Index(launcherNames[:], name); i >= 0 {
		return Launcher(i), nil
	}
	return 0, fmt.Errorf("launcher %q: must be one of %s", name, strings.Join(launcherNames[:], ", "))
}

// ForkConfig says what Fork runs and how. Start from DefaultForkConfig and set
// Path. All sizes are bytes.
type ForkConfig struct {
	Mode     ForkMode
	Launcher Launcher
	// Standby is how many processes wait ahead of requests, unless the processors are
	// saturated. With the launcher Standby they get nothing of Variables: their environment
	// is older than the request. Requests that find none waiting get the same from a process
	// of Exec, or one that the zygote forks then.
	Standby int
	// StandbyIdle is how long they wait; 0 means for ever. They are started again when
	// requests come again.
	StandbyIdle time.Duration
	// Preload has a zygote import once what the script's own statements import, and not each process for itself.
	Preload bool
	// Resident has a zygote run the script once, before it is ready. A process of a request calls nothing but the script's function
	// request; one of Exec runs the whole script, as __main__. Requests wait until the zygote is ready, and Run returns an error if
	// the first one does not get there. Other zygotes may neither have threads nor connections, nor much memory; this one may,
	// since its children have to share what it has loaded. Python only.
	Resident     bool
	StartTimeout time.Duration // longest time until a zygote is ready; 0: a minute

	Path string   // the program; not looked up
	Args []string // with the program's own name first; empty: Path alone
	// Arguments returns what a request adds to Args; nil adds nothing. Exec only.
	Arguments func(x Exchange) []string
	// Script is a file that Args name as ScriptPath: an interpreter's program that has no other path which every user may
	// read. It is only read, and stays the caller's. nil: none.
	Script *os.File
	Env    []string // complete, apart from the variables of the request and Mark
	Dir    string   // working directory; empty: ours

	ContentType string        // of answers, where there is no Fields
	MaxOutput   int64         // most output that Serializing keeps; 0: no limit
	Timeout     time.Duration // longest run of a process; 0: no limit
	Grace       time.Duration // SIGTERM to SIGKILL; 0: DefaultGrace
	// OutputGrace is how long a process that has ended may have left standard
	// output open in another one; then the answer is over. Timeout ends it earlier.
	OutputGrace time.Duration

	// Fields adds the fields of an answer; nil adds ContentType.
	Fields func(x Exchange) error
	// Combined lets standard error go where standard output goes, in the order of writing.
	Combined bool
	// FailedOutput lets a FailedError of Serializing have what the process printed.
	FailedOutput bool

	// ClientGone is the cause, as an Exchange reports it, after which Finish counts.
	ClientGone error
	// Finish lets a process that has its whole request run on when its client has
	// left; what it still prints goes nowhere.
	Finish bool

	// Credentials makes variables of Authorization and Cookie, too (rule E5).
	Credentials bool
	// Variables adds the variables of a request; nil means those of CGI.
	Variables func(v *Variables, x Exchange)
	// MaxVariables is the most bytes that they take, of which one may take all; 0
	// means 64 KiB and at most 16 KiB for one (rule E4). The kernel takes 128 KiB for one.
	MaxVariables int

	// Output is called with each line of standard error and the id of its request.
	// It must not block for long. nil: the process has our standard error.
	Output func(id string, l Line)
	// OutputRate, Lines and OOMScoreAdj are those of Config, per process.
	OutputRate, OOMScoreAdj int
	Lines                   LineRule

	Log *slog.Logger // nil: no log
}

// ScriptPath is where a process finds ForkConfig.Script.
const ScriptPath = "/proc/self/fd/5"

// maxStandby bounds what waits: each is a process that holds memory for nothing.
const maxStandby = 64

// DefaultForkConfig returns the limits of the robustness contract.
func DefaultForkConfig() ForkConfig {
	return ForkConfig{
		ContentType: "application/octet-stream",
		MaxOutput:   64 << 20,
		Grace:       DefaultGrace,
		OutputGrace: time.Second,
		Standby:     1,
		StandbyIdle: time.Minute,
		Preload:     true,
	}
}

// Validate reports every value that cannot work, joined into one error.
func (c ForkConfig) Validate() error {
	var errs []error
	notNegative := func(name string, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s %v: must not be negative", name, d))
		}
	}
	if c.Fields == nil && c.ContentType == "" || !http1.ValidValue([]byte(c.ContentType)) {
		errs = append(errs, fmt.Errorf("content-type %q: must be the value of a field", c.ContentType))
	}
	if c.MaxOutput < 0 {
		errs = append(errs, fmt.Errorf("max-output %d: must not be negative", c.MaxOutput))
	}
	if c.MaxVariables < 0 || c.MaxVariables >= maxArgument {
		errs = append(errs, fmt.Errorf("max-variables %d: allowed are 0 to %d", c.MaxVariables, maxArgument-1))
	}
	if c.Standby < 0 || c.Standby > maxStandby || c.Launcher == Standby && c.Standby == 0 {
		errs = append(errs, fmt.Errorf("standby %d: allowed are 1 to %d", c.Standby, maxStandby))
	}
	notNegative("standby-idle", c.StandbyIdle)
	notNegative("start-timeout", c.StartTimeout)
	notNegative("process-timeout", c.Timeout)
	notNegative("output-grace", c.OutputGrace)
	return errors.Join(errs...)
}

// load says what a zygote does before it is ready.
func (c *ForkConfig) load() zygote.Load {
	switch {
	case c.Resident:
		return zygote.Resident
	case c.Preload:
		return zygote.Preload
	default:
		return zygote.Later
	}
}

// withDefaults fills in what is the same for every process.
func (c ForkConfig) withDefaults() (ForkConfig, error) {
	p, err := Config{
		Path: c.Path, Args: c.Args, Grace: c.Grace, OutputRate: c.OutputRate, OOMScoreAdj: c.OOMScoreAdj, Log: c.Log,
	}.withDefaults()
	if err != nil {
		return c, err
	}
	c.Args, c.Grace, c.OutputRate, c.OOMScoreAdj, c.Log = p.Args, p.Grace, p.OutputRate, p.OOMScoreAdj, p.Log
	if c.Variables == nil {
		c.Variables = CGI
	}
	return c, c.Validate()
}
