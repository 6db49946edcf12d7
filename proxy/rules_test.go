package proxy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

func TestRulesBoundStartAndSilenceOfAnAnswer(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		if c.request().line == "GET /begun HTTP/1.1" {
			c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		}
		c.wait()
	})
	for name, rules := range map[string]proxy.Rules{
		"start": {StartTimeout: 50 * time.Millisecond},
		"quiet": {QuietTimeout: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, f.backend(), func(s *setup) {
				s.Hooks.Rules = rules
				s.AnswerTimeout = 0
			})
			c := p.dial()
			c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			c.requireCode(504, "timeout")
			require.Equal(t, 504, c.get("/").code, "the connection carries another one")
			if name == "quiet" {
				c.send("GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
				c.requireCut(c.head("GET"))
			}
		})
	}
}
