package workers

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lane is memory shared with one worker: larger bodies lie in it instead of going
// through a pipe. Requests at the front, answers behind. It is sealed against
// shrinking (a worker that cut it short would end us with SIGBUS) and nothing in
// it is parsed, only copied.
type lane struct {
	file     *os.File
	memory   []byte
	request  []byte // ours to write between requests
	response []byte // ours to read between RESPONSE and the next REQUEST
	used     bool   // pages may be in it
}

// newLane returns a lane of two windows of size bytes each.
func newLane(size int) (*lane, error) {
	fd, err := unix.MemfdCreate("fnpod-lane", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create body lane: %w", err)
	}
	file := os.NewFile(uintptr(fd), "fnpod-lane")
	memory, err := sealAndMap(fd, 2*size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare body lane of %d bytes: %w", 2*size, err), file.Close())
	}
	return &lane{file: file, memory: memory, request: memory[:size:size], response: memory[size:]}, nil
}

func sealAndMap(fd, size int) ([]byte, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// punch gives the memory of a lane that was used back to the system; it reads as
// zeros then. No request may be in flight.
func (l *lane) punch() error {
	if !l.used {
		return nil
	}
	l.used = false
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	fd := int(l.file.Fd()) // no poller behind a memory file: Fd changes nothing
	if err := unix.Fallocate(fd, mode, 0, int64(len(l.memory))); err != nil {
		return fmt.Errorf("empty body lane: %w", err)
	}
	return nil
}

func (l *lane) close() error {
	return errors.Join(unix.Munmap(l.memory), l.file.Close())
}
