package workers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/workers/protocol"
)

// readSize is room for a whole frame, unless its meta is large, too.
const readSize = protocol.HeaderSize + protocol.Piece

var (
	// errWoken means that wake was called while we waited; look at the flags again.
	errWoken = errors.New("woken")
	// errInputClosed means that the worker reads no requests any more.
	errInputClosed = errors.New("request pipe closed by the worker")

	past = time.Unix(1, 0)
)

// channel is our side of a worker's two pipes. One goroutine at a time uses it;
// wake and the state of the writer are for others, too.
//
// Requests are written by the goroutine that then waits for the answer: it arms
// the network poller, writes, and parks. That is one system call less than
// reading first, and no other goroutine has to be woken.
type channel struct {
	in, out *os.File // we write requests to in and read answers from out
	inFd    int
	outFd   int
	raw     syscall.RawConn    // of out
	step    func(uintptr) bool // c.advance, bound once

	dead  atomic.Bool // the worker's process has ended
	first []byte      // to be written before the next wait
	wrote int         // bytes of it that the pipe took at once
	err   error       // of the last step

	buf        []byte // buf[start:end] was read and not yet taken
	start, end int

	// What the pipe does not take at once is written by a goroutine that lives as
	// long as the pipe is full, so that reading goes on meanwhile (rule W13).
	writing  atomic.Bool
	writers  sync.WaitGroup
	rest     []byte // the writer's while writing is true
	queued   []byte // whole frames that wait for it
	writeErr error  // set by the writer before writing becomes false
}

// newChannel makes both pipes. The files returned are the worker's ends: fd 3 and
// 4 of its process, to be closed here once it runs.
func newChannel() (c *channel, reads, writes *os.File, err error) {
	var requests, answers [2]int
	if err := unix.Pipe2(requests[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, nil, fmt.Errorf("create request pipe: %w", err)
	}
	if err := unix.Pipe2(answers[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("create answer pipe: %w", err),
			unix.Close(requests[0]), unix.Close(requests[1]))
	}
	reads = os.NewFile(uintptr(requests[0]), "requests")
	writes = os.NewFile(uintptr(answers[1]), "answers")
	err = errors.Join(unix.SetNonblock(requests[1], true), unix.SetNonblock(answers[0], true))
	c = &channel{
		in:    os.NewFile(uintptr(requests[1]), "requests"), // non-blocking: on the poller
		out:   os.NewFile(uintptr(answers[0]), "answers"),
		inFd:  requests[1],
		outFd: answers[0],
		buf:   make([]byte, readSize),
	}
	c.step = c.advance
	if err == nil {
		c.raw, err = c.out.SyscallConn()
	}
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("prepare pipes: %w", err),
			reads.Close(), writes.Close(), c.close())
	}
	return c, reads, writes, nil
}

// close closes our ends. The worker must be dead, or it may have lost its input.
func (c *channel) close() error {
	c.writers.Wait()
	return errors.Join(c.closeInput(), c.out.Close())
}

// closeInput tells the worker that no more requests come.
func (c *channel) closeInput() error {
	if err := c.in.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// wake makes a wait return errWoken, or the next one if there is none. Any
// goroutine may call it.
func (c *channel) wake() {
	_ = c.out.SetReadDeadline(past) // fails only when closed: then nobody waits
}

// post has frames written by the next wait: that is one system call less than a write before it.
func (c *channel) post(frames []byte) { c.first, c.wrote = frames, 0 }

// withdraw takes back what was posted and reports whether none of it was written.
func (c *channel) withdraw() bool {
	unwritten := len(c.first) > 0
	c.first = nil
	return unwritten
}

// full reports whether the pipe has not taken everything yet.
func (c *channel) full() bool { return c.writing.Load() }

// unblock ends a write that the worker will never take.
func (c *channel) unblock() {
	_ = c.in.SetWriteDeadline(past) // as in wake
}

// wait waits until something was read or somebody wants to be heard. It does not
// wait for a dead worker: the pipe need not end with it, and it is told of only once.
func (c *channel) wait() error {
	if !c.dead.Load() {
		if err := c.fill(); !errors.Is(err, errWoken) {
			return err
		}
		if !c.dead.Load() {
			return nil
		}
	}
	came, err := c.poll() // what it wrote last
	if err == nil && !came {
		err = io.EOF
	}
	return err
}

// fill writes c.first, if set, and waits until something was read. Besides nil it
// returns errWoken, errInputClosed, io.EOF, or what the system says.
func (c *channel) fill() error {
	if err := c.makeRoom(); err != nil {
		return err
	}
	c.err = nil
	switch err := c.raw.Read(c.step); {
	case err == nil:
		return c.err
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = c.out.SetReadDeadline(time.Time{}) // as in wake
		return errWoken
	default:
		return err
	}
}

// advance is called by the poller's read loop: first when the poller is armed,
// then whenever the pipe may have become readable. It returns false to wait.
func (c *channel) advance(fd uintptr) bool {
	if len(c.first) > 0 {
		n, err := writeNow(c.inFd, c.first)
		c.wrote += n
		c.first = c.first[n:]
		if err != nil {
			c.err, c.first = err, nil
			return true
		}
		if len(c.first) == 0 {
			return false
		}
		c.later(c.first)
		c.first = nil
	}
	n, err := readNow(int(fd), c.buf[c.end:])
	c.end += n
	if err == syscall.EAGAIN { //nolint:errorlint // a plain number from the system call
		return false
	}
	c.err = err
	return true
}

// poll reads what is there without waiting and reports whether it was anything.
func (c *channel) poll() (bool, error) {
	if err := c.makeRoom(); err != nil {
		return false, err
	}
	n, err := readNow(c.outFd, c.buf[c.end:])
	c.end += n
	if err == syscall.EAGAIN { //nolint:errorlint // a plain number from the system call
		return false, nil
	}
	return n > 0, err
}

// take returns the next frame if it was read completely. Its parts are valid
// until the next fill or poll.
func (c *channel) take() (f frame, ok bool, err error) {
	if c.end-c.start < protocol.HeaderSize {
		return f, false, nil
	}
	f, _, ok, err = c.takeWhole()
	return f, ok, err
}

// takeWhole is take, and returns the frame's bytes, too.
func (c *channel) takeWhole() (f frame, raw []byte, ok bool, err error) {
	f, need, err := parseFrame(c.buf[c.start:c.end])
	if err != nil || need > c.end-c.start {
		return f, nil, false, err
	}
	raw = c.buf[c.start:][:need]
	c.start += need
	return f, raw, true, nil
}

// makeRoom moves what is left to the front and grows the buffer for a frame that
// is larger. It returns to its size when such a frame was taken.
func (c *channel) makeRoom() error {
	if c.start == c.end {
		c.start, c.end = 0, 0
		if len(c.buf) > readSize {
			c.buf = make([]byte, readSize)
		}
		return nil
	}
	_, need, err := parseFrame(c.buf[c.start:c.end])
	if err != nil {
		return err
	}
	if need > len(c.buf) {
		bigger := make([]byte, need) // at most maxFrame
		c.end = copy(bigger, c.buf[c.start:c.end])
		c.start, c.buf = 0, bigger
		return nil
	}
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	return nil
}

// send writes whole frames without waiting.
func (c *channel) send(frames []byte) error {
	if c.writing.Load() || len(c.queued) > 0 {
		c.queued = append(c.queued, frames...)
		return c.flush()
	}
	if c.writeErr != nil {
		return c.writeErr
	}
	n, err := writeNow(c.inFd, frames)
	if err != nil {
		return err
	}
	if n < len(frames) {
		c.later(frames[n:])
	}
	return nil
}

// flush sends the frames that waited for the writer.
func (c *channel) flush() error {
	if c.writing.Load() || len(c.queued) == 0 {
		return nil
	}
	frames := c.queued
	c.queued = nil
	return c.send(frames)
}

// later has b written by a goroutine that wakes us afterwards.
func (c *channel) later(b []byte) {
	c.rest = append(c.rest[:0], b...)
	c.writing.Store(true)
	c.writers.Go(func() {
		if _, err := c.in.Write(c.rest); err != nil {
			c.writeErr = errInputClosed
		}
		c.writing.Store(false)
		c.wake()
	})
}

// unread returns how many bytes wait in the request pipe.
func (c *channel) unread() int {
	n, err := unix.IoctlGetInt(c.inFd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// writeNow writes as much as the pipe takes.
func writeNow(fd int, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := syscall.Write(fd, b[done:])
		switch err {
		case nil:
			done += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return done, nil
		case syscall.EPIPE:
			return done, errInputClosed
		default:
			return done, err
		}
	}
	return done, nil
}

// readNow reads what is there; syscall.EAGAIN when that is nothing.
func readNow(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
