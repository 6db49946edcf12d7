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
)

// Config holds the bounds of a queue.
type Config struct {
	Limit   int           // slots; 0 means no limit
	Depth   int           // waiting places; 0 means that nobody waits
	MaxWait time.Duration // longest wait for a slot; 0 means no bound
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
	return Config{Limit: 0, Depth: 100, MaxWait: 30 * time.Second}
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
	return errors.Join(errs...)
}
