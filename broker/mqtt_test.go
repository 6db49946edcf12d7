package broker_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
)

func subscribeMQTT(t *testing.T, s *source, c broker.MQTTConfig) *source {
	t.Helper()
	c.Log = s.log.logger()
	if c.Version == 0 {
		c.Version = 4
	}
	m := broker.NewMQTT(c)
	s.run(t, m.Up(), m.Run)
	return s
}

// mosquitto is a broker that keeps sessions in a file, across its restarts.
func mosquitto(t *testing.T, config ...string) *server {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	host, port, _ := net.SplitHostPort(address)
	text := "listener " + port + " " + host + "\nallow_anonymous true\npersistence true\npersistence_location " + dir + "/\n"
	if os.Getuid() == 0 {
		text += "user root\n" // else it cannot write there
	}
	file := filepath.Join(dir, "mosquitto.conf")
	require.NoError(t, os.WriteFile(file, []byte(text+strings.Join(config, "\n")), 0o600))
	return startServer(t, address, "mosquitto", "-c", file)
}

func TestMQTTDeliversAllQualities(t *testing.T) {
	t.Parallel()
	srv := mosquitto(t)
	s := subscribeMQTT(t, &source{}, broker.MQTTConfig{
		Server: broker.Server{Address: srv.address}, Clean: true,
		Subscriptions: []broker.Subscription{{Topic: "a/+", QoS: 0}, {Topic: "b/#", QoS: 1}, {Topic: "c", QoS: 2}},
	})
	within(t, s.up, "not subscribed")
	p := newMQTTPublisher(t, srv.address)
	for i, topic := range []string{"a/x", "b/x/y", "c"} {
		p.publish(topic, "body\x00\xff", 1)
		m := take(t, s.in)
		require.Equal(t, []any{topic, "body\x00\xff", i > 0}, []any{m.Topic, string(m.Body), m.Kept})
		require.Equal(t, i == 0, m.ID == "0")
		m.Done(true)
	}
	body := strings.Repeat("x", 3<<20)
	p.publish("b", body, 1)
	m := take(t, s.in)
	require.Equal(t, body, string(m.Body))
	m.Done(true)
	s.stop()
	require.NoError(t, within(t, s.ended, "no end"))
	require.NotContains(t, s.log.String(), "level=WARN")
}

// The broker sends no more than its window, and the messages of a client that keeps none unread are all there in the end.
func TestMQTTWaitsForThoseWhoWork(t *testing.T) {
	t.Parallel()
	srv := mosquitto(t, "max_inflight_messages 0", "max_queued_messages 0", "max_queued_bytes 0")
	s := &source{}
	s.in = broker.NewInbox(10, 10<<20, func() {}, s.lost.add)
	subscribeMQTT(t, s, broker.MQTTConfig{Server: broker.Server{Address: srv.address}, Clean: true, Subscriptions: []broker.Subscription{{Topic: "a", QoS: 1}, {Topic: "b", QoS: 0}}})
	within(t, s.up, "not subscribed")
	p := newMQTTPublisher(t, srv.address)
	const messages = 500
	for i := range messages {
		p.publish("a", strconv.Itoa(i), 1)
	}
	require.Eventually(t, func() bool { return s.in.Waiting() == 10 }, 10*time.Second, time.Millisecond)
	for i := range messages {
		m := take(t, s.in)
		require.Equal(t, strconv.Itoa(i), string(m.Body))
		require.LessOrEqual(t, s.in.Waiting(), 10)
		m.Done(true)
	}
	for range 30 { // these may be lost
		p.publish("b", "", 0)
	}
	require.Eventually(t, func() bool { return s.lost.count() == 20 }, 10*time.Second, time.Millisecond)
	for range 10 {
		take(t, s.in).Done(true)
	}
	s.stop()
	require.NoError(t, within(t, s.ended, "no end"))
}

// workOn handles all messages but those that are refused, when gate is open, and counts them.
type workOn struct {
	mu     sync.Mutex
	seen   map[string]int // guarded by mu
	refuse string
	gate   chan struct{}
}

func (w *workOn) run(in *broker.Inbox) {
	for {
		m, ok := in.Take()
		if !ok {
			return
		}
		<-w.gate
		if string(m.Body) == w.refuse {
			m.Done(false)
			continue
		}
		w.mu.Lock()
		w.seen[string(m.Body)]++
		w.mu.Unlock()
		m.Done(true)
	}
}

// times tells how often a message was handled.
func (w *workOn) times(i int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[strconv.Itoa(i)]
}

// A session that is kept loses nothing that was acknowledged to its publisher: neither to a broker that restarts, nor while
// nobody is there, nor of what was not handled.
func TestMQTTKeptSessionsLoseNothing(t *testing.T) {
	t.Parallel()
	srv := mosquitto(t)
	c := broker.MQTTConfig{Server: broker.Server{Address: srv.address}, ClientID: "pod", Subscriptions: []broker.Subscription{{Topic: "a", QoS: 1}}}
	open := make(chan struct{})
	close(open)
	w := &workOn{seen: map[string]int{}, refuse: "15", gate: open}
	publish := func(from, to int) {
		t.Helper()
		p := newMQTTPublisher(t, srv.address)
		for i := from; i < to; i++ {
			p.publish("a", strconv.Itoa(i), 1)
		}
	}
	wait := func(from, to, times int) {
		t.Helper()
		for i := from; i < to; i++ {
			require.Eventually(t, func() bool { return w.times(i) >= times }, 20*time.Second, time.Millisecond, i)
		}
	}
	first := subscribeMQTT(t, &source{}, c)
	within(t, first.up, "not subscribed")
	w.gate = make(chan struct{})
	go w.run(first.in)
	publish(0, 10)
	require.Eventually(t, func() bool { return first.in.Waiting() == 9 }, 10*time.Second, time.Millisecond)
	srv.stop() // with ten that are not acknowledged
	srv.start()
	publish(10, 15)
	close(w.gate)
	wait(0, 15, 1)
	publish(15, 17)
	wait(16, 17, 1) // it cannot be acknowledged before 15
	first.stop()
	require.NoError(t, within(t, first.ended, "no end"))
	publish(17, 20)

	second := subscribeMQTT(t, &source{}, c)
	w.refuse = ""
	go w.run(second.in)
	wait(15, 20, 1)
	wait(16, 17, 2)
	second.stop()
	require.NoError(t, within(t, second.ended, "no end"))
	for i := range 20 {
		want := 1
		if i == 16 {
			want = 2
		}
		require.Equal(t, want, w.times(i), i)
	}
	third := subscribeMQTT(t, &source{}, c)
	within(t, third.up, "not subscribed")
	publish(20, 21)
	m := take(t, third.in)
	require.Equal(t, "20", string(m.Body), "nothing else was left")
	m.Done(true)
}

func TestMQTTAsksToBeLetIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	require.NoError(t, exec.Command("mosquitto_passwd", "-b", "-c", passwords, "u", "p").Run())
	require.NoError(t, os.Chmod(passwords, 0o644)) //nolint:gosec // the broker is another user
	for _, test := range []struct{ name, user, password, refused string }{
		{"right", "u", "p", ""},
		{"nobody", "", "", "not authorized"},
		{"wrong", "u", "x", "not authorized"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := mosquitto(t, "allow_anonymous false", "password_file "+passwords)
			s := subscribeMQTT(t, &source{}, broker.MQTTConfig{
				Server: broker.Server{Address: srv.address, User: test.user, Password: test.password}, Clean: true, Subscriptions: []broker.Subscription{{Topic: "a"}},
			})
			if test.refused == "" {
				within(t, s.up, "not subscribed")
				return
			}
			err := within(t, s.ended, "no end")
			require.ErrorIs(t, err, broker.ErrRefused)
			require.ErrorContains(t, err, srv.address+": broker: refused: "+test.refused)
		})
	}
}

// Whatever a broker says: it is a lost connection, and the next one works.
func TestMQTTSurvivesItsBroker(t *testing.T) {
	t.Parallel()
	const hello = "\x20\x02\x00\x00"
	for name, script := range map[string][]string{
		"silence":           {},
		"another protocol":  {"HTTP/1.1 400 Bad Request\r\n\r\n"},
		"not available":     {"\x20\x02\x00\x03"},
		"no CONNACK":        {"\xd0\x00"},
		"cut":               {hello, "\x90\x03\x00\x01\x01\x30\x20\x00\x01a"},
		"bad quality":       {hello, "\x90\x03\x00\x01\x01\x36\x05\x00\x01a\x00\x01"},
		"two CONNACKs":      {hello + hello},
		"too many answers":  {hello, "\x90\x04\x00\x01\x01\x01"},
		"surplus packets":   {hello, "\x90\x03\x00\x01\x01\xb0\x02\x00\x02\xb0\x02\x00\x02\x62\x02\x00\x63\xd0\x00"},
		"the same number":   {hello, "\x90\x03\x00\x01\x01" + strings.Repeat("\x32\x06\x00\x01a\x00\x01x", 3)},
		"a packet too long": {hello, "\x90\xff\xff\xff\x7f"},
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
				for _, text := range script {
					_, _ = heard.ReadByte() // of CONNECT: nothing more is looked at
					_, _ = bad.Write([]byte(text))
				}
				if len(script) > 0 {
					_ = bad.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, heard)
				}
				_ = bad.Close()
				good, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = good.Write([]byte(hello + "\x90\x03\x00\x01\x01\x32\x09\x00\x01a\x00\x01good"))
				b := make([]byte, 1000)
				text := ""
				for !strings.Contains(text, "\xa2\x05\x00\x02\x00\x01a") {
					n, err := good.Read(b)
					if err != nil {
						break
					}
					text += string(b[:n])
				}
				_, _ = good.Write([]byte("\xb0\x02\x00\x02"))
				rest, _ := io.ReadAll(good)
				if text += string(rest); !strings.HasSuffix(text, "\xe0\x00") || !strings.Contains(text, "\x40\x02\x00\x01") {
					t.Errorf("the broker heard %q", text)
				}
				_ = good.Close()
			})
			s := subscribeMQTT(t, &source{}, broker.MQTTConfig{Server: broker.Server{Address: l.Addr().String()}, Clean: true, Subscriptions: []broker.Subscription{{Topic: "a", QoS: 1}}})
			for {
				m := take(t, s.in)
				m.Done(true)
				if string(m.Body) == "good" {
					break
				}
			}
			s.stop()
			require.NoError(t, within(t, s.ended, "no end"))
			served.Wait()
		})
	}
}

func TestMQTTChecksSubscriptions(t *testing.T) {
	t.Parallel()
	for topic, ok := range map[string]bool{
		"a": true, "a/b": true, "/": true, "+": true, "#": true, "a/+/b": true, "a/#": true, "$share/g/a": true,
		"": false, "a+": false, "a/#/b": false, "a#": false, "a\x00": false, "\xff": false,
	} {
		require.Equal(t, ok, broker.Subscription{Topic: topic}.Check() == nil, "%q", topic)
	}
	require.Error(t, broker.Subscription{Topic: "a", QoS: 3}.Check())
}
