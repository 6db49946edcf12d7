package watchdog

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Mark is the environment variable that every process gets besides its
// Config.Env. Its value is unique to the process and inherited by everything
// the process starts, which is how descendants that left the process group
// are found again.
const Mark = "FNPOD_CHILD"

var (
	markPrefix = sync.OnceValue(rand.Text)
	markCount  atomic.Uint64
)

// newMark returns the environment entry of a new process.
func newMark() string { return string(appendMark(nil)) }

// appendMark appends what newMark returns.
func appendMark(dst []byte) []byte {
	dst = append(dst, Mark+"="...)
	dst = append(dst, markPrefix()...)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, markCount.Add(1), 10)
}

// withMark returns env with mark in place of any mark we inherited ourselves.
// It does not change env.
func withMark(env []string, mark string) []string {
	marked := make([]string, 0, len(env)+1)
	marked = append(marked, env...)
	marked = slices.DeleteFunc(marked, func(entry string) bool { return strings.HasPrefix(entry, Mark+"=") })
	return append(marked, mark)
}
