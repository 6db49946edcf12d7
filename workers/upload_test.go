package workers_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// stalled is a request whose client sends a little of its body and then nothing.
func stalled(t *testing.T, target string) *exchange {
	t.Helper()
	r, client := io.Pipe()
	x := streamed(target, r, -1)
	go func() { _, _ = io.WriteString(client, "abc") }() // ends with the request
	t.Cleanup(func() { _ = client.Close() })
	return x
}

// do is Do with an end to the wait.
func (p *pool) do(t *testing.T, x *exchange) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.Do(x) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		require.Fail(t, "the request waits for its client")
		return nil
	}
}

// W9, W13: a client that stalls its upload delays neither the time-out of the
// function nor the news of its end nor its answer.
func TestW13AClientThatStallsDelaysNothing(t *testing.T) {
	t.Parallel()
	t.Run("time-out", func(t *testing.T) {
		t.Parallel()
		c := config(t, "good")
		c.Timeout = 100 * time.Millisecond
		p := running(t, c)
		x := stalled(t, "/echo")
		require.ErrorIs(t, p.do(t, x), workers.ErrTimeout)
		require.Equal(t, "hello", p.get(t, "/hello"))
	})
	t.Run("death", func(t *testing.T) {
		t.Parallel()
		p := running(t, config(t, "good"))
		x := stalled(t, "/exit?3")
		require.ErrorIs(t, p.do(t, x), workers.ErrDied)
		require.Equal(t, "hello", p.get(t, "/hello"))
	})
	t.Run("answer", func(t *testing.T) {
		t.Parallel()
		p := running(t, config(t, "good"))
		x := stalled(t, "/early")
		require.NoError(t, p.do(t, x))
		require.Equal(t, "early", x.text())
		require.Equal(t, "hello", p.get(t, "/hello"))
		require.EqualValues(t, 1, p.Stats().Starts)
	})
	t.Run("conversation", func(t *testing.T) {
		t.Parallel()
		p := running(t, config(t, "good"))
		r, client := io.Pipe()
		x := streamed("/duplex", r, -1)
		answered := make(chan string)
		x.onWrite = func(_ *exchange, b []byte) (int, error) {
			answered <- string(b)
			return len(b), nil
		}
		go func() {
			defer client.Close()
			for _, word := range []string{"one", "two", "three"} {
				_, _ = io.WriteString(client, word) // fails if the request does
				if <-answered != word {
					panic("another answer")
				}
			}
		}()
		require.NoError(t, p.do(t, x))
	})
}
