package proxy_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// The end of an answer is sent when its slot is free: a client that asks again as soon as it has it, on another
// connection, is not refused, however often it does.
func TestTheSlotIsFreeBeforeTheAnswerIsThere(t *testing.T) {
	for name, length := range map[string]int64{"length": 5, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
				x.Respond(200, length)
				if _, err := x.Write([]byte("hello")); err != nil {
					return err
				}
				return x.Finish()
			}), func(s *setup) { s.Queue = queue.Config{Limit: 1, Depth: 0} })
			clients := []*client{p.dial(), p.dial()}
			for i := range 500 {
				require.Equal(t, 200, clients[i%2].get("/").code, i)
				require.Zero(t, p.queue.Stats().Executing)
			}
		})
	}
}

// What goes wrong after the end of an answer comes too late for its client.
func TestFaultsAfterTheAnswer(t *testing.T) {
	for name, fault := range map[string]func() error{
		"error": func() error { return errors.New("too late") },
		"panic": func() error { panic("too late") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
				x.Respond(200, 5)
				if _, err := x.Write([]byte("hello")); err != nil {
					return err
				}
				if err := x.Finish(); err != nil {
					return err
				}
				return fault()
			}))
			r := p.dial().get("/")
			require.Equal(t, 200, r.code)
			require.Equal(t, "hello", r.body)
		})
	}
}
