package function

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	case typeRequest:
		if c != nil {
			return false, fmt.Errorf("%w: request %d is there already", errProtocol, f.id)
		}
		return false, w.begin(f, inline)
	case typeData, typeTrailers:
		if c != nil && c.body != nil {
			c.body.add(f.body, f.flags&flagMore == 0 || f.typ == typeTrailers)
		}
	case typeCancel:
		if c != nil {
			c.cancel(errCancelled)
		}
	case typeWindow:
		if len(f.body) != 4 {
			return false, fmt.Errorf("%w: WINDOW with %d bytes", errProtocol, len(f.body))
		}
		if c != nil {
			c.grant(int(binary.LittleEndian.Uint32(f.body)))
		}
	case typePing:
		w.pong()
	case typeDrain, typeExit:
		return true, nil
	default:
		if f.typ < typeOptional {
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
	w.say(typePong, 0, "rss", strconv.Itoa(pages*os.Getpagesize()), "in_flight", strconv.Itoa(n))
}
