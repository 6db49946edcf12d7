package proxy

import (
	"sync/atomic"
	"time"
)

// dateCache keeps the Date field of the current second (RFC 9110 §6.6.1).
type dateCache struct{ line atomic.Pointer[dateLine] }

type dateLine struct {
	second int64
	text   []byte
}

// append adds the field for answers that are our own.
func (d *dateCache) append(dst []byte) []byte {
	now := time.Now()
	line := d.line.Load()
	if line == nil || line.second != now.Unix() {
		line = &dateLine{now.Unix(), now.UTC().AppendFormat(nil, "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")}
		d.line.Store(line)
	}
	return append(dst, line.text...)
}
