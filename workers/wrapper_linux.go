package workers

import (
	"os"

	"github.com/fnpod/fnpod/watchdog"
)

// wrapperPath is where a worker finds its wrapper: a memory file, opened by its path, so that each worker reads it from
// the start.
const wrapperPath = "/proc/self/fd/6"

// wrapperFile returns a memory file with a wrapper's source.
func wrapperFile(source string) (*os.File, error) {
	return watchdog.MemoryFile("fnpod-wrapper", source)
}
