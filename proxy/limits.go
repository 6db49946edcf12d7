package proxy

import (
	"strconv"
	"time"
)

// appendLimit says which of our limits a refusal comes from, by the setting that moves
// it. Nothing else about the inside is told (rule M6).
func (s *Server) appendLimit(dst []byte, label string) []byte {
	number := func(name string, n int64) []byte {
		return append(strconv.AppendInt(append(append(append(dst, "Fnpod-Limit: "...), name...), '='), n, 10), "\r\n"...)
	}
	duration := func(name string, d time.Duration) []byte {
		return append(append(append(append(append(dst, "Fnpod-Limit: "...), name...), '='), d.String()...), "\r\n"...)
	}
	switch label {
	case "queue_full":
		return number("queue-depth", int64(s.queue.Depth()))
	case "queue_timeout":
		return duration("queue-max-wait", s.queue.MaxWait())
	case "body_size":
		return number("max-body", s.cfg.MaxBody)
	case "header_size":
		return number("head-bytes", int64(s.cfg.HeadBytes))
	case "header_count":
		return number("head-fields", int64(s.cfg.HeadFields))
	case "timeout_head":
		return duration("head-timeout", s.cfg.HeadTimeout)
	case "timeout_body":
		return duration("body-timeout", s.cfg.BodyTimeout)
	}
	return dst
}
