package watchdog

import "errors"

// forkReason says why a request was not answered by its process.
type forkReason uint8

const (
	forkExited   forkReason = iota // exit code other than 0
	forkSignaled                   // ended by a signal that was not ours
	forkOOM                        // by the kernel, which was out of memory
	forkTimeout
	forkCanceled // the request was given up: by its client, a time-out of the pod, a bad body
	forkOutput   // too much of it
	forkStart    // the command cannot be started
	forkNoRoom
	forkRefused // variables that cannot be
	forkReasons // number of reasons
)

var forkReasonNames = [forkReasons]string{
	forkExited: "exited", forkSignaled: "signaled", forkOOM: "oom", forkTimeout: "timeout", forkCanceled: "canceled", forkOutput: "output",
	forkStart: "start", forkNoRoom: "no_room", forkRefused: "refused",
}

func reasonOf(err error) forkReason {
	if failed, ok := errors.AsType[*FailedError](err); ok {
		switch {
		case failed.Memory:
			return forkOOM
		case failed.Exit.Signal != 0:
			return forkSignaled
		}
		return forkExited
	}
	for _, r := range [...]struct {
		err    error
		reason forkReason
	}{
		{ErrRunTimeout, forkTimeout},
		{ErrOutputSize, forkOutput},
		{ErrNotStarted, forkStart},
		{ErrNoRoom, forkNoRoom},
		{ErrVariables, forkRefused},
		{ErrPath, forkRefused},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return forkCanceled
}

// ForkStats is a picture of a Fork at one moment.
type ForkStats struct {
	Running  int               // processes, those that are being ended included
	Waiting  int               // processes without a request
	Ahead    uint64            // requests that found one waiting
	Starts   uint64            // processes started
	Failures map[string]uint64 // requests without an answer of their process, by reason
	Dropped  int64             // bytes of standard error that came faster than OutputRate
}

// ForkFailures lists the reasons that ForkStats.Failures has.
func ForkFailures() []string { return append([]string(nil), forkReasonNames[:]...) }

// Stats returns the counts. Any goroutine may call it.
func (f *Fork) Stats() ForkStats {
	s := ForkStats{Starts: f.starts.Load(), Failures: map[string]uint64{}, Dropped: f.dropped.Load()}
	for r := range forkReasons {
		s.Failures[forkReasonNames[r]] = f.failures[r].Load()
	}
	f.mu.Lock()
	s.Running = len(f.running)
	f.mu.Unlock()
	if a := f.ahead; a != nil {
		s.Ahead = a.hits.Load()
		a.mu.Lock()
		s.Waiting = len(a.list)
		a.mu.Unlock()
	}
	return s
}
