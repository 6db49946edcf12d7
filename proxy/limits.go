package proxy

import (
	"strconv"

	"github.com/fnpod/fnpod/proxy/http1"
)

// appendLimit says which of our limits a refusal comes from, by the setting that moves
// it. Nothing else about the inside is told (rule M6).
func (s *Server) appendLimit(dst []byte, label string) []byte {
	limit := s.limitOf(label)
	if limit == "" {
		return dst
	}
	return http1.AppendField(dst, "Fnpod-Limit", limit)
}

// limitOf returns the setting and its value, "" for what no setting moves.
func (s *Server) limitOf(label string) string {
	switch label {
	case "queue_full":
		return "queue-depth=" + strconv.Itoa(s.queue.Depth())
	case "queue_timeout":
		return "queue-max-wait=" + s.queue.MaxWait().String()
	case "body_size":
		return "max-body=" + strconv.FormatInt(s.cfg.MaxBody, 10)
	case "header_size":
		return "head-bytes=" + strconv.Itoa(s.cfg.HeadBytes)
	case "header_count":
		return "head-fields=" + strconv.Itoa(s.cfg.HeadFields)
	case "timeout_head":
		return "head-timeout=" + s.cfg.HeadTimeout.String()
	case "timeout_body":
		return "body-timeout=" + s.cfg.BodyTimeout.String()
	default:
		return ""
	}
}
