package broker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func text(s string) *Message { return &Message{Body: []byte(s)} }

func TestInboxKeepsOrderAndItsBounds(t *testing.T) {
	var lost []error
	came := 0
	in := NewInbox(2, 1000, func() { came++ }, func(err error) { lost = append(lost, err) })
	for _, s := range []string{"a", "b", "c"} {
		in.offer(text(s))
	}
	require.Equal(t, []error{ErrFull}, lost)
	require.Equal(t, 2, in.Waiting())
	for _, want := range []string{"a", "b"} {
		m, ok := in.Take()
		require.True(t, ok)
		require.Equal(t, want, string(m.Body))
		m.Done(true)
	}
	in.offer(text(string(make([]byte, 5000)))) // one may be larger than all may be
	in.offer(text("d"))
	require.Len(t, lost, 2, "bytes count, too")
	require.Equal(t, 3, came)
	in.Close()
	in.offer(text("e"))
	m, ok := in.Take()
	require.True(t, ok)
	require.Len(t, m.Body, 5000)
	m.Done(false)
	_, ok = in.Take()
	require.False(t, ok)
	<-in.idle
}

func TestInboxMakesThoseWaitWhoMayNotLoseAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := NewInbox(1, 1000, func() {}, func(error) { panic("lost") })
		ctx, cancel := context.WithCancel(t.Context())
		put := make(chan string)
		go func() {
			for _, s := range []string{"a", "b", "c"} {
				in.put(ctx, text(s))
				put <- s
			}
		}()
		require.Equal(t, "a", <-put)
		synctest.Wait()
		require.Equal(t, 1, in.Waiting())
		a, _ := in.Take()
		require.Equal(t, "b", <-put)
		synctest.Wait()
		require.Equal(t, 1, in.Waiting())
		cancel() // what has been received is taken
		require.Equal(t, "c", <-put)
		require.Equal(t, 2, in.Abandon())
		select {
		case <-in.idle:
			t.Fatal("a is not done")
		default:
		}
		a.Done(false)
		<-in.idle
	})
}

func TestInboxAcknowledgesWhatWasHandled(t *testing.T) {
	in := NewInbox(2, 1000, func() {}, nil)
	settled := 0
	for range 2 {
		m := text("a")
		m.settle = func() { settled++ }
		in.put(t.Context(), m)
	}
	first, _ := in.Take()
	second, _ := in.Take()
	first.Done(false)
	require.Zero(t, settled)
	second.Done(true)
	require.Equal(t, 1, settled)
}
