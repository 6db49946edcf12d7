package proxy

import (
	"errors"
	"fmt"
	"time"
)

// Config holds the limits of the front door. The zero value is not usable; start
// from DefaultConfig. All sizes are bytes.
type Config struct {
	HeadBytes    int   // largest request or answer head
	HeadFields   int   // most fields in one head
	MaxBody      int64 // largest request body; 0 means no limit
	BufferBody   int64 // bodies up to this size are read before queueing
	Connections  int   // most client connections; 0 means derived from the descriptor limit
	HTTP2Streams int   // most requests at once on one connection of HTTP/2; 0 refuses HTTP/2

	HeadTimeout   time.Duration // first byte to end of head
	IdleTimeout   time.Duration // keep-alive connection without a request
	BodyTimeout   time.Duration // longest gap between two pieces of a body
	WriteTimeout  time.Duration // longest time without progress towards the client
	AnswerTimeout time.Duration // slot granted to first byte of the answer; 0 means no limit
	Timeout       time.Duration // head read to last byte of the answer; 0 means no limit

	TunnelIdleTimeout time.Duration // longest time a tunnel may move no byte; the two limits before end when it begins

	Forwarded  string // "append" to the forwarding fields the client sent, "replace" them, or "off"
	RequestIDs bool   // the function gets an X-Request-Id, of ours if the client sent none
	AccessLog  bool   // one log record per request
	Timing     bool   // answers tell by Server-Timing how long they waited and ran

	DrainDelay   time.Duration // keeps accepting this long after the drain began
	DrainTimeout time.Duration // then waits this long for requests to end
}

// DefaultConfig returns the limits of the robustness contract.
func DefaultConfig() Config {
	return Config{
		HeadBytes:     16 << 10,
		HeadFields:    256,
		BufferBody:    64 << 10,
		HTTP2Streams:  100,
		HeadTimeout:   10 * time.Second,
		IdleTimeout:   75 * time.Second,
		BodyTimeout:   30 * time.Second,
		WriteTimeout:  30 * time.Second,
		AnswerTimeout: 60 * time.Second,

		TunnelIdleTimeout: 10 * time.Minute,

		Forwarded:    "append",
		RequestIDs:   true,
		DrainDelay:   5 * time.Second,
		DrainTimeout: 30 * time.Second,
	}
}

// Validate reports every value that cannot work, joined into one error.
func (c Config) Validate() error {
	var errs []error
	between := func(name string, v, low, high int64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d: allowed are %d to %d", name, v, low, high))
		}
	}
	positive := func(name string, d time.Duration) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s %v: must be more than 0", name, d))
		}
	}
	notNegative := func(name string, d time.Duration) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s %v: must not be negative", name, d))
		}
	}
	between("head-bytes", int64(c.HeadBytes), 1<<10, 64<<10-1)
	between("head-fields", int64(c.HeadFields), 8, 4096)
	between("max-body", c.MaxBody, 0, 1<<62)
	between("buffer-body", c.BufferBody, 0, 64<<20)
	between("connections", int64(c.Connections), 0, 1<<20)
	between("http2-streams", int64(c.HTTP2Streams), 0, 1<<20)
	positive("head-timeout", c.HeadTimeout)
	positive("idle-timeout", c.IdleTimeout)
	positive("body-timeout", c.BodyTimeout)
	positive("write-timeout", c.WriteTimeout)
	notNegative("answer-timeout", c.AnswerTimeout)
	notNegative("timeout", c.Timeout)
	positive("tunnel-idle-timeout", c.TunnelIdleTimeout)
	notNegative("drain-delay", c.DrainDelay)
	notNegative("drain-timeout", c.DrainTimeout)
	if c.Forwarded != "append" && c.Forwarded != "replace" && c.Forwarded != "off" {
		errs = append(errs, fmt.Errorf("forwarded %q: allowed are append, replace, off", c.Forwarded))
	}
	return errors.Join(errs...)
}
