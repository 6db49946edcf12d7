package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultStartTimeout bounds the time from start to the first passed probe
// when Supervisor.StartTimeout is 0.
const DefaultStartTimeout = 60 * time.Second

// Supervisor keeps one long-lived function process running. Set the exported
// fields before Run; the methods may be called by several goroutines, also
// before and after Run.
type Supervisor struct {
	// Process is the function.
	Process Config
	// Probe tells when the function is up after a start.
	Probe Probe
	// StartTimeout is how long the probe may fail after a start; then the
	// process is stopped, which counts as its exit. 0 means DefaultStartTimeout.
	StartTimeout time.Duration
	// ExitWithChild makes Run return when the function ends, instead of
	// starting it again: its exit becomes the pod's.
	ExitWithChild bool
	// KeepTrying makes Run go on, not ready and with the longest delay between
	// starts, where it would give up after five exits in a minute.
	KeepTrying bool
	// Log gets starts, ends and state changes, and what Process.Log would get
	// if that is nil; nil discards them.
	Log *slog.Logger

	begin func(Config) (child, error) // nil means Start; tests replace it

	mu      sync.Mutex
	status  Status        // guarded by mu; written by Run only
	current child         // guarded by mu; nil when no process runs
	changed chan struct{} // guarded by mu; closed at the next change of status
}

// child is what a Supervisor needs of a Process.
type child interface {
	Pid() int
	Done() <-chan struct{}
	Exit() Exit
	Stop()
	Signal(sig syscall.Signal) error
}

// Status returns what the Supervisor is doing.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Ready reports whether the function is up.
func (s *Supervisor) Ready() bool { return s.Status().State == Ready }

// Changed returns a channel that is closed at the next change of the status.
// Call it before looking at the status, and again after each change.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Signal sends sig to the function's process group. It returns
// os.ErrProcessDone while no process runs.
func (s *Supervisor) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	c := s.current
	s.mu.Unlock()
	if c == nil {
		return os.ErrProcessDone
	}
	return c.Signal(sig)
}

// Run starts the function and keeps it running until ctx ends; then it stops
// the process and returns nil once everything is collected. It returns an
// *ExitError when the function is not started again, and another error when
// it cannot be started at all. Run is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.update(func(st *Status) { st.State = Stopped })
	var b backoff
	for {
		healthy, err := s.live(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !Transient(err) {
			if err = s.judge(&b, healthy, err); err != nil {
				return err
			}
		}
		if !s.pause(ctx, b.wait()) {
			return nil
		}
		s.update(func(st *Status) { st.Restarts++ })
	}
}

// Transient reports that the system lacked the means to start a process, which
// says nothing about the function (rule W16).
func Transient(err error) bool {
	for _, e := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// judge returns nil if the function is to be started again after err.
func (s *Supervisor) judge(b *backoff, healthy time.Duration, err error) error {
	var exit *ExitError
	ended := errors.As(err, &exit)
	if ended && s.ExitWithChild {
		return exit
	}
	if !ended && s.Status().Exits == 0 {
		return err // it never ran: a wrong path, no permission
	}
	tooMany := b.exited(time.Now(), healthy)
	switch {
	case !tooMany || s.KeepTrying:
		s.log().Warn("function ended", "err", err)
		return nil
	case ended:
		return &ExitError{Exit: exit.Exit, Err: fmt.Errorf("%w: %d times in %s", ErrGaveUp, fastExits, fastWindow)}
	default:
		return fmt.Errorf("%w: %d times in %s: %w", ErrGaveUp, fastExits, fastWindow, err)
	}
}

// live sees one process through. It returns how long the function was up and
// why it is not any more; the error means nothing once ctx has ended.
func (s *Supervisor) live(ctx context.Context) (time.Duration, error) {
	c, err := s.launch()
	if err != nil {
		return 0, err
	}
	defer s.forget()
	up := s.watch(ctx)
	defer func() { _ = up.stop() }() // the last check is of interest only after a time-out
	limit := time.NewTimer(s.startTimeout())
	defer limit.Stop()
	started := time.Now()
	var ready time.Time
	for passed := up.passed; ; {
		select {
		case <-ctx.Done():
			s.update(func(st *Status) { st.State = Stopping })
			c.Stop()
			s.log().Info("function stopped", "pid", c.Pid(), "exit", c.Exit().String())
			return 0, nil
		case <-passed:
			passed = nil
			limit.Stop()
			ready = time.Now()
			s.update(func(st *Status) { st.State = Ready })
			s.log().Info("function ready", "pid", c.Pid(), "after", ready.Sub(started).Round(time.Millisecond).String())
		case <-limit.C:
			err := fmt.Errorf("%w: %s, %w", ErrStartTimeout, s.startTimeout(), up.stop())
			s.update(func(st *Status) { st.State = Stopping })
			c.Stop()
			return 0, s.ended(c, err)
		case <-c.Done():
			var healthy time.Duration
			if !ready.IsZero() {
				healthy = time.Since(ready)
			}
			return healthy, s.ended(c, nil)
		}
	}
}

func (s *Supervisor) launch() (child, error) {
	begin := s.begin
	if begin == nil {
		begin = func(c Config) (child, error) { return Start(c) }
	}
	config := s.Process
	if config.Log == nil {
		config.Log = s.Log
	}
	c, err := begin(config)
	if err != nil {
		return nil, err
	}
	s.update(func(st *Status) {
		s.current = c
		st.State, st.Pid = Starting, c.Pid()
	})
	s.log().Info("function started", "pid", c.Pid())
	return c, nil
}

// ended records the exit of a process that has ended.
func (s *Supervisor) ended(c child, cause error) error {
	exit := c.Exit()
	s.update(func(st *Status) {
		st.Exits++
		st.LastExit = exit
	})
	return &ExitError{Exit: exit, Err: cause}
}

// forget ends the time of a process; what comes next is not known yet, but
// the function is not ready.
func (s *Supervisor) forget() {
	s.update(func(st *Status) {
		s.current = nil
		st.State, st.Pid = Waiting, 0
	})
}

// pause waits for the next start and reports whether there is to be one.
func (s *Supervisor) pause(ctx context.Context, delay time.Duration) bool {
	s.log().Info("function is started again", "delay", delay.String())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// update changes the status and tells those who watch it.
func (s *Supervisor) update(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.status.State
	change(&s.status)
	if s.status.State != before {
		s.status.Since = time.Now()
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *Supervisor) startTimeout() time.Duration {
	if s.StartTimeout <= 0 {
		return DefaultStartTimeout
	}
	return s.StartTimeout
}

func (s *Supervisor) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
