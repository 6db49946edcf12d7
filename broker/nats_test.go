package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
)

// source is a subscription that runs.
type source struct {
	in    *broker.Inbox
	log   lines
	lost  losses
	up    <-chan struct{}
	stop  context.CancelFunc
	ended chan error
}

func (s *source) run(t *testing.T, up <-chan struct{}, run func(context.Context, *broker.Inbox) error) {
	t.Helper()
	if s.in == nil {
		s.in = broker.NewInbox(1000, 10<<20, func() {}, s.lost.add)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	s.up, s.ended = up, make(chan error, 1)
	go func() { s.ended <- run(ctx, s.in) }()
	t.Cleanup(func() {
		s.stop()
		s.in.Abandon()
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
}

func subscribeNATS(t *testing.T, s *source, c broker.NATSConfig) *source {
	t.Helper()
	c.Log = s.log.logger()
	n := broker.NewNATS(c)
	s.run(t, n.Up(), n.Run)
	return s
}

func natsServer(t *testing.T, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	host, port, _ := net.SplitHostPort(address)
	return startServer(t, address, "nats-server", append([]string{"-a", host, "-p", port}, args...)...)
}

func TestNATSDeliversToOneOfAQueue(t *testing.T) {
	t.Parallel()
	srv := natsServer(t)
	c := broker.NATSConfig{Server: broker.Server{Address: srv.address}, Topic: "a.*", Queue: "q"}
	one, two := subscribeNATS(t, &source{}, c), subscribeNATS(t, &source{}, c)
	c.Queue = ""
	all := subscribeNATS(t, &source{}, c)
	for _, s := range []*source{one, two, all} {
		within(t, s.up, "not subscribed")
	}
	p := newNATSPublisher(t, srv.address)
	const messages = 200
	for i := range messages {
		p.publish("a."+strconv.Itoa(i), "body")
	}
	p.say("HPUB a.h 28 30\r\nNATS/1.0\r\nX-A: 1\r\nX-A: 2\r\n\r\n\x00\xff\r\n")
	require.Eventually(t, func() bool { return all.in.Waiting() == messages+1 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return one.in.Waiting()+two.in.Waiting() == messages+1 }, 10*time.Second, time.Millisecond)
	require.Positive(t, one.in.Waiting())
	require.Positive(t, two.in.Waiting())
	for i := range messages {
		m := take(t, all.in)
		require.Equal(t, "a."+strconv.Itoa(i), m.Topic, "in order")
		require.False(t, m.Kept)
		m.Done(true)
	}
	m := take(t, all.in)
	require.Equal(t, []any{"a.h", map[string][]string{"X-A": {"1", "2"}}, "\x00\xff"}, []any{m.Topic, m.Header, string(m.Body)})
	m.Done(true)

	one.stop() // the queue has one member less, and loses nothing
	require.NoError(t, within(t, one.ended, "no end"))
	before := two.in.Waiting()
	for range 50 {
		p.publish("a.b", "")
	}
	require.Eventually(t, func() bool { return two.in.Waiting() == before+50 }, 10*time.Second, time.Millisecond)
}

func TestNATSComesBack(t *testing.T) {
	t.Parallel()
	srv := natsServer(t)
	s := subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: srv.address}, Topic: "a"})
	within(t, s.up, "not subscribed")
	for range 2 {
		srv.stop()
		require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "no connection to the broker") }, 10*time.Second, time.Millisecond)
		srv.start()
		p := newNATSPublisher(t, srv.address)
		require.Eventually(t, func() bool { p.publish("a", "b"); return s.in.Waiting() > 0 }, 20*time.Second, 10*time.Millisecond)
		m := take(t, s.in)
		require.Equal(t, "b", string(m.Body))
		m.Done(true)
	}
}

// Nothing is lost that was published before the end, and messages are told that found no room.
func TestNATSDrainsAndTellsLosses(t *testing.T) {
	t.Parallel()
	srv := natsServer(t)
	s := &source{}
	s.in = broker.NewInbox(100, 10<<20, func() {}, s.lost.add)
	subscribeNATS(t, s, broker.NATSConfig{Server: broker.Server{Address: srv.address}, Topic: "a"})
	within(t, s.up, "not subscribed")
	p := newNATSPublisher(t, srv.address)
	text := strings.Repeat("PUB a 1\r\nx\r\n", 150)
	p.say(text)
	s.stop()
	require.NoError(t, within(t, s.ended, "no end"))
	require.Equal(t, 100, s.in.Waiting())
	require.Equal(t, 50, s.lost.count())
	for range 100 {
		take(t, s.in).Done(true)
	}
	_, ok := s.in.Take()
	require.False(t, ok)
}

func TestNATSAsksToBeLetIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string
		server     broker.Server
		token      string
		refused    string
	}{
		{"password", "--user u --pass p", broker.Server{User: "u", Password: "p"}, "", ""},
		{"wrong password", "--user u --pass p", broker.Server{User: "u", Password: "x"}, "", "Authorization Violation"},
		{"token", "--auth secret", broker.Server{}, "secret", ""},
		{"no token", "--auth secret", broker.Server{}, "", "Authorization Violation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := natsServer(t, strings.Fields(test.args)...)
			test.server.Address = srv.address
			s := subscribeNATS(t, &source{}, broker.NATSConfig{Server: test.server, Token: test.token, Topic: "a"})
			if test.refused == "" {
				within(t, s.up, "not subscribed")
				return
			}
			err := within(t, s.ended, "no end")
			require.ErrorIs(t, err, broker.ErrRefused)
			require.ErrorContains(t, err, srv.address)
			require.ErrorContains(t, err, test.refused)
		})
	}
}

// Whatever a server says: it is a lost connection, and the next one works.
func TestNATSSurvivesItsServer(t *testing.T) {
	t.Parallel()
	const hello = "INFO {}\r\n"
	for name, script := range map[string][]string{
		"silence":             {},
		"another protocol":    {"HTTP/1.1 400 Bad Request\r\n\r\n"},
		"no INFO":             {"PONG\r\n"},
		"bad INFO":            {"INFO {\r\n"},
		"cut":                 {hello + "PONG\r\n", "PONG\r\nMSG a 1 10\r\nx"},
		"bad size":            {hello + "PONG\r\n", "PONG\r\nMSG a 1 999999999999\r\n"},
		"stale":               {hello + "PONG\r\n", "PONG\r\n-ERR 'Stale Connection'\r\n"},
		"PING while it asks":  {hello + "PING\r\n+OK\r\nPONG\r\n", "MSG a 1 4\r\nlost\r\nPONG\r\n"},
		"surplus PONGs":       {hello + "PONG\r\nPONG\r\nPONG\r\nPONG\r\n"},
		"refused later":       {hello + "PONG\r\n", "PONG\r\n-ERR 'Authorization Violation'\r\n"},
		"others of a cluster": {`INFO {"connect_urls":["127.0.0.1:1","nonsense"]}` + "\r\nPONG\r\n", "PONG\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			var served sync.WaitGroup
			served.Go(func() {
				bad, err := l.Accept()
				if err != nil {
					return
				}
				heard := bufio.NewReader(bad)
				for i, text := range script {
					if i > 0 {
						_, _ = heard.ReadString('\n') // what it says is not looked at
					}
					_, _ = bad.Write([]byte(text))
				}
				if len(script) > 0 {
					_ = bad.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, heard)
				}
				_ = bad.Close()
				for {
					good, err := l.Accept()
					if err != nil {
						return
					}
					r := bufio.NewReader(good)
					fmt.Fprint(good, hello)
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							break
						}
						if strings.HasPrefix(line, "PING") {
							fmt.Fprint(good, "PONG\r\n")
						}
						if strings.HasPrefix(line, "SUB") {
							fmt.Fprint(good, "MSG a 1 4\r\ngood\r\n")
						}
					}
					_ = good.Close()
				}
			})
			s := subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: l.Addr().String()}, Topic: "a"})
			for {
				m := take(t, s.in)
				m.Done(true)
				if string(m.Body) == "good" {
					break
				}
			}
			s.stop()
			require.NoError(t, within(t, s.ended, "no end"))
			_ = l.Close()
			served.Wait()
		})
	}
}

func TestNATSChecksNames(t *testing.T) {
	t.Parallel()
	for topic, ok := range map[string]bool{"a": true, "a.b": true, "a.*.c": true, "a.>": true, ">": true, "": false, "a..b": false, ".a": false, "a b": false, "a\n": false, ">.a": false} {
		c := broker.NATSConfig{Topic: topic}
		require.Equal(t, ok, c.CheckTopic() == nil, "%q", topic)
	}
	require.Error(t, (&broker.NATSConfig{Queue: "a b"}).CheckQueue())
}

// A client learns the other servers of a cluster, and goes there when its own ends.
func TestNATSMovesWithinItsCluster(t *testing.T) {
	t.Parallel()
	one, two := freeAddress(t), freeAddress(t)
	first := natsServer(t, "--cluster_name", "c", "--cluster", "nats://"+one, "--routes", "nats://"+two)
	second := natsServer(t, "--cluster_name", "c", "--cluster", "nats://"+two, "--routes", "nats://"+one)
	s := subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: first.address}, Topic: "a"})
	within(t, s.up, "not subscribed")
	p := newNATSPublisher(t, second.address)
	require.Eventually(t, func() bool { p.publish("a", "1"); return s.in.Waiting() > 0 }, 20*time.Second, 10*time.Millisecond, "by the route")
	first.stop()
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "server="+second.address) }, 20*time.Second, time.Millisecond)
	before := s.in.Waiting()
	p.publish("a", "2")
	require.Eventually(t, func() bool { return s.in.Waiting() == before+1 }, 10*time.Second, time.Millisecond)
}
