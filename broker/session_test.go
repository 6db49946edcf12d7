package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipe is a connection between a session and a broker of the test.
func pipe() (*line, net.Conn) {
	ours, theirs := net.Pipe()
	l := &line{Conn: ours}
	l.in = bufio.NewReader(l)
	return l, theirs
}

func quiet() link { return newLink(slog.New(slog.DiscardHandler)) }

// Handlers may take as long as they want: the broker is told that we are there, and what it does not read from us is all
// there in the end.
func TestMQTTPingsWhileNothingIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, theirs := pipe()
		m := &MQTT{link: quiet(), window: newWindow(), config: MQTTConfig{Clean: true, Subscriptions: []Subscription{{"a", 1}}}}
		s := &mqttSession{line: l, mqtt: m, over: make(chan struct{})}
		m.window.open(func(p []byte) { _ = s.send(p) }, false)
		in := NewInbox(1, 1000, func() {}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.receive(ctx, in) }()

		heard := make(chan string, 1000) // all that is sent in this test
		go func() {
			defer close(heard)
			for {
				var b [2]byte
				if _, err := io.ReadFull(theirs, b[:]); err != nil {
					return
				}
				rest := make([]byte, b[1])
				_, _ = io.ReadFull(theirs, rest)
				heard <- fmt.Sprintf("%x %x", b[0], rest)
				if b[0] == packetUnsubscribe|2 {
					_, _ = theirs.Write([]byte("\xb0\x02\x00\x02"))
				}
			}
		}()
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = theirs.Write([]byte("\x90\x03\x00\x01\x01"))
			for i := range 4 {
				_, _ = theirs.Write([]byte{0x32, 5, 0, 1, 'a', 0, byte(i + 1)})
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, heard, 120, "pings")
		for len(heard) > 0 {
			require.Equal(t, "c0 ", <-heard)
		}
		for range 4 {
			message, ok := in.Take()
			require.True(t, ok)
			message.Done(true)
		}
		<-written
		synctest.Wait()
		require.Len(t, heard, 4)
		for i := range 4 {
			require.Equal(t, fmt.Sprintf("40 %04x", i+1), <-heard)
		}
		cancel()
		require.Error(t, <-ended)
		require.Equal(t, "a2 0002000161", <-heard)
		require.Equal(t, "e0 ", <-heard)
		_, more := <-heard
		require.False(t, more)
	})
}

// A broker that says nothing any more is given up, and so is one that takes nothing.
func TestSilentBrokersAreGivenUp(t *testing.T) {
	run := map[string]func(*line, *Inbox) error{
		"mqtt": func(l *line, in *Inbox) error {
			m := &MQTT{link: quiet(), window: newWindow()}
			return (&mqttSession{line: l, mqtt: m, over: make(chan struct{})}).receive(context.Background(), in)
		},
		"nats": func(l *line, in *Inbox) error {
			return (&natsSession{line: l, nats: &NATS{link: quiet()}}).receive(context.Background(), in)
		},
	}
	for name, receive := range run {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s reads %v", name, reads), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, theirs := pipe()
					if reads {
						go func() { _, _ = io.Copy(io.Discard, theirs) }()
					}
					from := time.Now()
					err := receive(l, NewInbox(1, 1, func() {}, nil))
					require.Error(t, err)
					require.LessOrEqual(t, time.Since(from), time.Minute)
					_ = theirs.Close()
				})
			})
		}
	}
}

// Pauses grow, also when a session begins and ends at once; a refusal is final only before the first session.
func TestLinkTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet()
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Time
		err := l.keep(ctx, func(context.Context) (bool, error) {
			at = append(at, time.Now())
			switch len(at) {
			case 20:
				l.subscribed()
			case 30:
				time.Sleep(time.Minute)
			case 32:
				cancel()
			}
			if len(at) > 20 {
				return true, ErrRefused
			}
			return true, io.EOF
		})
		require.NoError(t, err)
		require.Len(t, at, 32)
		for i := 1; i < len(at); i++ {
			pause, longest := at[i].Sub(at[i-1]), min(firstPause<<min(i-1, 20), longestPause)
			switch i {
			case 30:
				pause -= time.Minute
				fallthrough
			case 31: // the one before it was no short session
				longest = 4 * firstPause
			}
			require.LessOrEqual(t, pause, longest, i)
			require.GreaterOrEqual(t, pause, firstPause/2, i)
		}
	})
	l := quiet()
	require.ErrorIs(t, l.keep(t.Context(), func(context.Context) (bool, error) { return false, errors.Join(io.EOF, ErrRefused) }), ErrRefused)
}

// What others of a cluster are called is taken from INFO.
func TestNATSLearnsServers(t *testing.T) {
	n := NewNATS(NATSConfig{Server: Server{Address: "a:1"}})
	n.learn(natsInfo{Others: []string{"b:2", "a:1", "nonsense", "b:2", "[::1]:3"}})
	require.Equal(t, "a:1 b:2 [::1]:3", strings.Join(n.servers, " "))
	n.learn(natsInfo{})
	require.Equal(t, []string{"a:1"}, n.servers)
}
