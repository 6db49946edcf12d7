package workers

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// wrapperPath is where a worker finds its wrapper: a memory file, so that no disk
// is needed, opened by its path, so that each worker reads it from the start.
const wrapperPath = "/proc/self/fd/6"

// wrapperFile returns a sealed memory file with a wrapper's source.
func wrapperFile(source string) (*os.File, error) {
	fd, err := unix.MemfdCreate("fnpod-wrapper", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create file for wrapper: %w", err)
	}
	file := os.NewFile(uintptr(fd), "fnpod-wrapper")
	if _, err := file.WriteString(source); err != nil {
		return nil, errors.Join(fmt.Errorf("write wrapper: %w", err), file.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal wrapper: %w", err), file.Close())
	}
	return file, nil
}
