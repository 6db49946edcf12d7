package watchdog

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// status of an answer whose process ended well.
const statusOK = 200

var contentType = []byte("Content-Type")

// output reads what the process has printed.
func (r *forked) output() error {
	switch {
	case r.x == nil:
		r.discard()
		return nil
	case r.f.cfg.Mode == Serializing:
		return r.keep()
	default:
		return r.stream()
	}
}

// read reads from standard output, of which poll said that it is ready. 0 is its end.
func (r *forked) read(p []byte) int {
	for {
		n, err := unix.Read(int(r.fds[onStdout].Fd), p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			r.closeFile(onStdout)
			return 0
		default:
			return n
		}
	}
}

func (r *forked) discard() { r.read(r.piece[:]) }

// stream passes output on at once. Only when there will be no more, and it is short, the exit code is waited for a
// moment.
func (r *forked) stream() error {
	over := r.fds[onStdout].Revents&unix.POLLHUP != 0
	for {
		n := r.read(r.piece[r.held:])
		r.held += n
		switch {
		case n == 0:
			if r.held > 0 && !r.exited {
				r.settleAt = r.f.now() + int64(settleTime)
			}
			return nil
		case !over || r.begun || r.held == len(r.piece):
			return r.send()
		}
	}
}

// send sends what is held.
func (r *forked) send() error {
	if r.held == 0 {
		return nil
	}
	if !r.begun {
		if err := r.respond(-1); err != nil {
			return err
		}
	}
	_, err := r.x.Write(r.piece[:r.held])
	r.held = 0
	return err
}

func (r *forked) respond(length int64) error {
	r.begun = true
	r.x.Respond(statusOK, length)
	if fields := r.f.cfg.Fields; fields != nil {
		return fields(r.x)
	}
	return r.x.AddField(contentType, []byte(r.f.cfg.ContentType))
}

// keep keeps output until the process has ended.
func (r *forked) keep() error {
	last := len(r.blocks) - 1
	if last < 0 || len(r.blocks[last]) == cap(r.blocks[last]) {
		r.blocks = append(r.blocks, blocks.Get().(*[pieceSize]byte)[:0])
		last++
	}
	b := r.blocks[last]
	n := r.read(b[len(b):cap(b)])
	r.blocks[last] = b[:len(b)+n]
	r.size += int64(n)
	if most := r.f.cfg.MaxOutput; most > 0 && r.size > most {
		return fmt.Errorf("%w (%d bytes)", ErrOutputSize, most)
	}
	return nil
}

// blocks are pieces of output that is kept.
var blocks = sync.Pool{New: func() any { return new([pieceSize]byte) }}

func freeBlocks(list [][]byte) [][]byte {
	for i, b := range list {
		blocks.Put((*[pieceSize]byte)(b[:pieceSize]))
		list[i] = nil
	}
	return list[:0]
}

// finish ends the answer as the exit code says (rule E8).
func (r *forked) finish() error {
	if r.exit != (Exit{}) {
		failed := &FailedError{Exit: r.exit, Memory: r.f.memoryRanOut(r.exit)}
		if r.f.cfg.FailedOutput {
			failed.Output = bytes.Join(r.blocks, nil)
		}
		return failed
	}
	if !r.begun {
		if err := r.respond(r.size + int64(r.held)); err != nil {
			return err
		}
	}
	for _, b := range r.blocks {
		if len(b) == 0 {
			continue
		}
		if _, err := r.x.Write(b); err != nil {
			return err
		}
	}
	if err := r.send(); err != nil {
		return err
	}
	return r.x.Finish()
}
