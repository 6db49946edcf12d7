package function

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/fnpod/fnpod/workers/protocol"
)

var (
	errParentGone = errors.New("fnpod is gone")
	errCancelled  = errors.New("nobody waits for the answer any more")
)

// take handles one frame, of which nothing is kept; over tells that it was the last. With inline it returns when the handler does.
func (w *worker) take(f *frame, inline bool) (over bool, err error) {
	w.mu.Lock()
	c := w.calls[f.id]
	w.mu.Unlock()
	switch f.typ {
	case protocol.Request:
		if c != nil {
			return false, fmt.Errorf("%w: request %d is there already", errProtocol, f.id)
		}
		return false, w.begin(f, inline)
	case protocol.Data, protocol.Trailers:
		if c != nil && c.body != nil {
			c.body.add(f.body, f.flags&protocol.FlagMore == 0 || f.typ == protocol.Trailers)
		}
	case protocol.Cancel:
		if c != nil {
			c.cancel(errCancelled)
		}
	case protocol.Window:
		if len(f.body) != 4 {
			return false, fmt.Errorf("%w: WINDOW with %d bytes", errProtocol, len(f.body))
		}
		if c != nil {
			c.grant(int(binary.LittleEndian.Uint32(f.body)))
		}
	case protocol.Ping:
		w.pong()
	case protocol.Drain, protocol.Exit:
		return true, nil
	default:
		if f.typ < protocol.Optional {
			return false, fmt.Errorf("%w: unknown frame type %#02x", errProtocol, uint8(f.typ))
		}
	}
	return false, nil
}

func (w *worker) pong() {
	statm, _ := os.ReadFile("/proc/self/statm") // without procfs the answer is 0
	pages := 0
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, _ = strconv.Atoi(fields[1])
	}
	w.mu.Lock()
	n := len(w.calls)
	w.mu.Unlock()
	w.say(protocol.Pong, 0, "rss", strconv.Itoa(pages*os.Getpagesize()), "in_flight", strconv.Itoa(n))
}
