package queue

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxLimit = 1_000_000
	maxDepth = 1_000_000
	maxWait  = 24 * time.Hour

	maxLanes   = 1024
	adaptMost  = 1000 // slots, where no limit is set
	adaptFirst = 20
	maxClasses = 16
)

// Disciplines (Config.Discipline).
const (
	// FIFO serves in order of arrival. Newcomers never pass those who wait.
	FIFO = "fifo"
	// Adaptive is FIFO until the line stands, which is when nobody would be served in
	// time; then it serves the newest first until the line is gone. It refuses those
	// whose Deadline cannot be met.
	Adaptive = "adaptive"
)

// Config holds the bounds of a queue.
type Config struct {
	Limit      int           // slots; 0 means no limit
	Depth      int           // waiting places; 0 means that nobody waits
	MaxWait    time.Duration // longest wait for a slot; 0 means no bound
	Discipline string        // FIFO or Adaptive
	Target     time.Duration // Adaptive: the wait that nobody need have; 0 means the mean service time, at least 5ms

	Adapt bool // Limit is the most; what is useful is found by a Gradient

	Classes []Class // in order of priority; none means one for all
	Lanes   int     // lines per class that take turns, among which keys are dealt; 0 means one
}

// Class is a group of requests with rights of its own. What it does not use is lent
// to others, the first in Config.Classes first.
type Class struct {
	Share float64 // 0 to 1: part of the limit, and of the waiting places, that is guaranteed
	Keep  float64 // 0 to 1: part of the guaranteed slots that is never lent
}

// DefaultConfig returns the bounds used when nothing was said.
//
// There is no limit, because the right one depends on the backend: a pool of
// workers brings its own number, an HTTP server may be good for thousands. The
// depth of 100 takes the burst of one busy client fleet and costs less than a
// megabyte; a longer line mostly holds requests that are answered after their
// clients gave up. 30 seconds is the time after which common clients and
// gateways give up themselves.
func DefaultConfig() Config {
	return Config{Limit: 0, Depth: 100, MaxWait: 30 * time.Second, Discipline: Adaptive}
}

// Validate reports every value that cannot work, joined into one error.
func (c Config) Validate() error {
	var errs []error
	if c.Limit < 0 || c.Limit > maxLimit {
		errs = append(errs, fmt.Errorf("queue-limit %d: allowed are 0 (no limit) to %d", c.Limit, maxLimit))
	}
	if c.Depth < 0 || c.Depth > maxDepth {
		errs = append(errs, fmt.Errorf("queue-depth %d: allowed are 0 (nobody waits) to %d", c.Depth, maxDepth))
	}
	if c.MaxWait < 0 || c.MaxWait > maxWait {
		errs = append(errs, fmt.Errorf("queue-max-wait %v: allowed are 0 (no bound) to %v", c.MaxWait, maxWait))
	}
	if c.Discipline != FIFO && c.Discipline != Adaptive {
		errs = append(errs, fmt.Errorf("queue-discipline %q: allowed are %s and %s", c.Discipline, FIFO, Adaptive))
	}
	if c.Target < 0 || c.Target > maxWait {
		errs = append(errs, fmt.Errorf("queue-target %v: allowed are 0 (by service time) to %v", c.Target, maxWait))
	}
	if c.Lanes < 0 || c.Lanes > maxLanes {
		errs = append(errs, fmt.Errorf("queue-lanes %d: allowed are 0 to %d", c.Lanes, maxLanes))
	}
	return errors.Join(append(errs, c.validateClasses()...)...)
}

func (c Config) validateClasses() (errs []error) {
	var sum float64
	for i, class := range c.Classes {
		if !(class.Share >= 0 && class.Share <= 1) || !(class.Keep >= 0 && class.Keep <= 1) {
			errs = append(errs, fmt.Errorf("queue class %d: share %v and keep %v must be 0 to 1", i, class.Share, class.Keep))
		}
		sum += class.Share
	}
	if sum > 1.0001 {
		errs = append(errs, fmt.Errorf("queue classes: shares are %v together, more than 1", sum))
	}
	if len(c.Classes) > maxClasses {
		errs = append(errs, fmt.Errorf("queue classes: %d, allowed are %d", len(c.Classes), maxClasses))
	}
	return errs
}
