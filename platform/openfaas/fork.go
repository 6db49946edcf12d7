package openfaas

import (
	"cmp"
	"errors"
	"net/http"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

const (
	// forkGrace is the time between SIGTERM and SIGKILL when a process ran too long. The original kills at once, and
	// the process alone.
	forkGrace = time.Second
	// mostVariables is what the kernel takes for one, and more than a head may have.
	mostVariables = 128<<10 - 1
)

// Forks reports a mode that starts a process for each request.
func (s *Settings) Forks() bool {
	return s.Mode == ModeStreaming || s.Mode == ModeSerializing || s.Mode == ModeClassic
}

// Fork says how the process of a request runs. The caller adds what is of the machine: path, environment, log.
func (s *Settings) Fork() watchdog.ForkConfig {
	c := watchdog.DefaultForkConfig()
	if s.Mode != ModeStreaming {
		c.Mode = watchdog.Serializing
	}
	c.Args = s.Process
	c.ContentType = s.ContentType
	c.Fields = s.answerFields
	c.MaxOutput = s.MaxBuffer
	c.Timeout, c.Grace = s.ExecTimeout, forkGrace
	// The original waits for who has the output, be it the process or not. Timeout ends that, too.
	c.OutputGrace = cmp.Or(s.ExecTimeout, s.WriteTimeout, defaultTimeout)
	c.ClientGone, c.Finish = proxy.ErrClientGone, !s.KillOnLeave
	c.Credentials, c.Variables, c.MaxVariables = true, s.Variables, mostVariables
	c.OutputRate, c.Lines = -1, s.Lines()
	if s.Classic != nil {
		c.Fields, c.Combined, c.FailedOutput = s.classicFields, s.Classic.CombineOutput, true
	}
	return c
}

// forkStatuses says how those are answered whose process did not. Its own words are in failure.
func (s *Settings) forkStatuses() []proxy.Status {
	if s.Classic != nil {
		return s.classicStatuses()
	}
	fields := plainText
	if s.Mode == ModeSerializing {
		fields = "Content-Type: " + s.ContentType + "\r\n" // also of an error, as the original has it
	}
	return []proxy.Status{
		{Code: 500, Label: "function_error", Fields: fields},
		{Code: 500, Label: "not_started", Fields: fields},
		outputTooLarge(plainText + byWatchdog),
	}
}

func outputTooLarge(fields string) proxy.Status {
	return proxy.Status{
		Err: watchdog.ErrOutputSize, Code: http.StatusInsufficientStorage, Label: "body_size", Upstream: metrics.UpstreamBodySize,
		Text: "output is larger than max_buffer\n", Fields: fields,
	}
}

// answerFields adds the type, also when it is set and empty.
func (s *Settings) answerFields(x watchdog.Exchange) error {
	return x.AddField([]byte("Content-Type"), []byte(s.ContentType))
}

// Failed turns an error of a process into what the client reads, and leaves other errors alone.
func (s *Settings) Failed(err error) error {
	if !errors.Is(err, watchdog.ErrFailed) && !errors.Is(err, watchdog.ErrNotStarted) {
		return err
	}
	text := s.reason(err)
	if s.Classic != nil {
		text += "\n"
		if failed, ok := errors.AsType[*watchdog.FailedError](err); ok {
			text += string(failed.Output)
		}
	}
	return &failure{err, text}
}

// failure is an error with the text that its client gets.
type failure struct {
	error

	text string
}

// Unwrap returns the error.
func (f *failure) Unwrap() error { return f.error }

// Public implements proxy.Public.
func (f *failure) Public() string { return f.text }

// reason says why a process did not answer, in the words of Go's os/exec.
func (s *Settings) reason(err error) string {
	if failed, ok := errors.AsType[*watchdog.FailedError](err); ok {
		if failed.Exit.Signal != 0 {
			return "signal: " + failed.Exit.Signal.String()
		}
		return failed.Exit.String()
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return "fork/exec " + s.Process[0] + ": " + errno.Error()
	}
	if missing, ok := errors.AsType[*MissingError](err); ok {
		return missing.Unwrap().Error()
	}
	return err.Error()
}

// MissingError is a command that was not found. It is a watchdog.ErrNotStarted.
type MissingError struct{ Err error }

// Error says what is missing.
func (e *MissingError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the search.
func (e *MissingError) Unwrap() error { return e.Err }

// Is makes it a watchdog.ErrNotStarted.
func (e *MissingError) Is(target error) bool { return target == watchdog.ErrNotStarted }
