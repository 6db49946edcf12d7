package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// bareLoop is a process that echoes bytes on two pipes.
type bareLoop struct {
	cmd     *exec.Cmd
	in, out *os.File
	raw     syscall.RawConn // of out
	buf     []byte
}

// bareHead stands for the head of a small request.
const bareHead = 400

// startBare starts the bare loop of a language.
func startBare(ctx context.Context, l spoken) (*bareLoop, error) {
	requestR, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, answerW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requestR.Close(), in.Close())
	}
	b := &bareLoop{cmd: exec.CommandContext(ctx, l.program, l.bare...), in: in, out: out, buf: make([]byte, 64<<10)}
	b.cmd.ExtraFiles = []*os.File{requestR, answerW}
	b.cmd.Stderr = os.Stderr
	b.cmd.Env = append(os.Environ(), childVariable+"=1")
	err = b.cmd.Start()
	if err := errors.Join(err, requestR.Close(), answerW.Close()); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	b.raw, err = out.SyscallConn()
	return b, err
}

func (b *bareLoop) pid() int { return b.cmd.Process.Pid }

// close ends the process with its pipe.
func (b *bareLoop) close() error {
	return errors.Join(b.in.Close(), b.cmd.Wait(), b.out.Close())
}

// pack implements traveller. What fits into a pipe is written when the goroutine is about to park, as a worker's pool
// does; more needs somebody who reads meanwhile.
func (b *bareLoop) pack(size int) func() error {
	data := make([]byte, bareHead+size)
	if len(data) > len(b.buf) {
		return func() error { return b.large(data) }
	}
	rest, wrote := 0, false
	var failed error
	step := func(fd uintptr) bool {
		if !wrote {
			wrote = true
			_, failed = b.in.Write(data)
			return failed != nil
		}
		n, err := syscall.Read(int(fd), b.buf)
		if errors.Is(err, syscall.EAGAIN) {
			return false
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		failed, rest = err, rest-n
		return err != nil || rest <= 0
	}
	return func() error {
		rest, wrote = len(data), false
		return errors.Join(b.raw.Read(step), failed)
	}
}

// large echoes what no pipe holds.
func (b *bareLoop) large(data []byte) error {
	written := make(chan error, 1)
	go func() {
		_, err := b.in.Write(data)
		written <- err
	}()
	_, err := io.CopyN(io.Discard, readerOnly{b.out}, int64(len(data)))
	return errors.Join(err, <-written)
}

// readerOnly hides what else a file can do, such as splice.
type readerOnly struct{ io.Reader }
