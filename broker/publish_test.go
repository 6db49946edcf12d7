package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// natsPublisher publishes to a server of NATS.
type natsPublisher struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newNATSPublisher(t *testing.T, address string) *natsPublisher {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p := &natsPublisher{t, conn, bufio.NewReader(conn)}
	p.say("CONNECT {\"headers\":true,\"verbose\":false}\r\n")
	return p
}

// say sends text and waits until the server has read it.
func (p *natsPublisher) say(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.conn, text+"PING\r\n")
	require.NoError(p.t, err)
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		line, err := p.in.ReadString('\n')
		require.NoError(p.t, err)
		require.NotContains(p.t, line, "-ERR")
		if line == "PONG\r\n" {
			return
		}
	}
}

func (p *natsPublisher) publish(subject, body string) {
	p.t.Helper()
	p.say(fmt.Sprintf("PUB %s %d\r\n%s\r\n", subject, len(body), body))
}

// mqttPublisher publishes to a broker of MQTT.
type mqttPublisher struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	next uint16
}

func newMQTTPublisher(t *testing.T, address string) *mqttPublisher {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p := &mqttPublisher{t: t, conn: conn, in: bufio.NewReader(conn)}
	p.say("\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
	p.hear("\x20\x02\x00\x00")
	return p
}

func (p *mqttPublisher) say(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.conn, text)
	require.NoError(p.t, err)
}

func (p *mqttPublisher) hear(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err := io.ReadFull(p.in, got)
	require.NoError(p.t, err)
	require.Equal(p.t, want, string(got))
}

// publish publishes with a quality of service of 0 or 1, and waits until the broker has it.
func (p *mqttPublisher) publish(topic, body string, qos byte) {
	p.t.Helper()
	var id string
	if qos > 0 {
		p.next++
		id = string(binary.BigEndian.AppendUint16(nil, p.next))
	}
	text := string(binary.BigEndian.AppendUint16(nil, uint16(len(topic)))) + topic + id + body
	head := []byte{0x30 | qos<<1}
	n := len(text)
	for ; n >= 0x80; n >>= 7 {
		head = append(head, byte(n)|0x80)
	}
	p.say(string(append(head, byte(n))) + text)
	if qos > 0 {
		p.hear("\x40\x02" + id)
		return
	}
	p.say("\xc0\x00")
	p.hear("\xd0\x00")
}
