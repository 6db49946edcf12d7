package watchdog

import (
	"errors"
	"fmt"
	"time"
)

// State is what a Supervisor is doing.
type State uint8

// States of a Supervisor.
const (
	Stopped  State = iota // not running: before Run and after it
	Starting              // the process runs, the probe has not passed
	Ready                 // the probe has passed
	Waiting               // the process ended and is started again after a delay
	Stopping              // the process was asked to end
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Stopped:
		return "stopped"
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Waiting:
		return "waiting"
	case Stopping:
		return "stopping"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Status is a picture of a Supervisor at one moment.
type Status struct {
	State State
	// Since is when State began; zero before Run.
	Since time.Time
	// Pid is the process's id; 0 when none runs.
	Pid int
	// Restarts counts the starts after the first.
	Restarts int64
	// Exits counts the ends of processes that nobody had asked for; LastExit
	// is the newest of them.
	Exits    int64
	LastExit Exit
}

// Errors that an ExitError may wrap.
var (
	// ErrStartTimeout tells that the function did not come up in time and was
	// ended for it.
	ErrStartTimeout = errors.New("function not up in time")
	// ErrGaveUp tells that the function ended too often to be started again.
	ErrGaveUp = errors.New("function ended too often")
)

// ExitError tells that a function ended and is not started again.
type ExitError struct {
	// Exit is how its process ended.
	Exit Exit
	// Err wraps ErrStartTimeout or ErrGaveUp; nil when the function ended by
	// itself and nothing else was wrong.
	Err error
}

// Error describes the end.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return "function ended: " + e.Exit.String()
	}
	return fmt.Sprintf("%v: %v", e.Err, e.Exit)
}

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Status returns the exit status of a pod whose function ended like this: the
// function's own when it ended by itself, and never 0 when something was wrong.
func (e *ExitError) Status() int {
	switch {
	case e.Err == nil:
		return e.Exit.Status()
	case errors.Is(e.Err, ErrStartTimeout) || e.Exit.Status() == 0:
		return 1
	default:
		return e.Exit.Status()
	}
}
