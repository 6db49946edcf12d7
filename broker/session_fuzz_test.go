package broker

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// played is a connection to a server that says what it is given, and listens to nothing.
type played struct {
	net.Conn

	in *bytes.Reader
}

func (p played) Read(b []byte) (int, error)     { return p.in.Read(b) }
func (played) Write(b []byte) (int, error)      { return len(b), nil }
func (played) Close() error                     { return nil }
func (played) SetDeadline(time.Time) error      { return nil }
func (played) SetReadDeadline(time.Time) error  { return nil }
func (played) SetWriteDeadline(time.Time) error { return nil }

// play runs a session on what a server says, with somebody who handles all messages, and returns when both have ended.
func play(t *testing.T, said []byte, session func(*line, *Inbox) error) {
	t.Helper()
	l := &line{Conn: played{in: bytes.NewReader(said)}}
	l.in = bufio.NewReaderSize(l, 4096)
	in := NewInbox(4, 1000, func() {}, func(error) {})
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		for {
			m, ok := in.Take()
			if !ok {
				return
			}
			m.Done(len(m.Body)%3 > 0)
		}
	}()
	require.Error(t, session(l, in), "what is said has an end")
	in.Close()
	<-handled
	<-in.idle
}

// Whatever a broker says, a session ends with an error, and nothing is left of it.
func FuzzMQTTSession(f *testing.F) {
	f.Add([]byte("\x20\x02\x01\x00\x90\x03\x00\x01\x01\x32\x06\x00\x01a\x00\x01x\x34\x06\x00\x01a\x00\x02x\x62\x02\x00\x02\xb0\x02\x00\x02\xb0\x02\x00\x02\xd0\x00"), false)
	f.Add([]byte("\x20\x02\x00\x00\x32\x06\x00\x01a\x00\x01x\x3a\x06\x00\x01a\x00\x01x\x90\x03\x00\x01\x80"), true)
	f.Fuzz(func(t *testing.T, said []byte, clean bool) {
		m := &MQTT{link: quiet(), window: newWindow(), config: MQTTConfig{Clean: clean, Subscriptions: []Subscription{{"a", 1}}}}
		play(t, said, func(l *line, in *Inbox) error {
			s := &mqttSession{line: l, mqtt: m, over: make(chan struct{})}
			if err := s.begin(); err != nil {
				return err
			}
			return s.receive(t.Context(), in)
		})
	})
}

func FuzzNATSSession(f *testing.F) {
	f.Add([]byte("INFO {}\r\nPONG\r\nPONG\r\nMSG a 1 2\r\nxx\r\nPING\r\n-ERR 'x'\r\nINFO {\"connect_urls\":[\"a:1\"]}\r\n"))
	f.Add([]byte("INFO {}\r\nPONG\r\nMSG a 1 9000\r\nx"))
	f.Fuzz(func(t *testing.T, said []byte) {
		n := NewNATS(NATSConfig{Server: Server{Address: "a:1"}, Topic: "a", Log: quiet().log})
		play(t, said, func(l *line, in *Inbox) error {
			s := &natsSession{line: l, nats: n, address: "a:1"}
			if err := s.begin(t.Context()); err != nil {
				return err
			}
			return s.receive(t.Context(), in)
		})
	})
}
