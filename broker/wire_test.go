package broker

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNATSFrames(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       natsFrame
		err        error
	}{
		{"info", "INFO {\"a\":1} \r\n", natsFrame{op: "INFO", text: []byte(`{"a":1}`)}, nil},
		{"small letters", "pInG\n", natsFrame{op: "PING"}, nil},
		{"error", "-ERR 'Stale Connection'\r\n", natsFrame{op: "-ERR", text: []byte("'Stale Connection'")}, nil},
		{"message", "MSG a.b 1 3\r\nx\r\n\r\n", natsFrame{op: "MSG", message: &Message{Topic: "a.b", Body: []byte("x\r\n")}}, nil},
		{"with reply", "MSG\ta 1  r.1 0\r\n\r\n", natsFrame{op: "MSG", message: &Message{Topic: "a", Body: []byte{}}}, nil},
		{
			"header", "HMSG a 1 34 36\r\nNATS/1.0\r\na-B: 1\r\na-B:2\r\nbad\r\n\r\n\r\nhi\r\n",
			natsFrame{op: "MSG", message: &Message{Topic: "a", Header: map[string][]string{"a-B": {"1", "2"}}, Body: []byte("hi")}},
			nil,
		},
		{"status", "HMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", natsFrame{op: "MSG", message: &Message{Topic: "a", Body: []byte{}}}, nil},
		{"too large", "MSG a 1 200\r\n" + strings.Repeat("x", 200) + "\r\n", natsFrame{op: "MSG"}, nil},
		{"no end", "MSG a 1 1\r\nxyz", natsFrame{}, errNATS},
		{"no size", "MSG a 1 x\r\n", natsFrame{}, errNATS},
		{"negative size", "MSG a 1 -1\r\n", natsFrame{}, errNATS},
		{"header beyond the end", "HMSG a 1 9 8\r\n", natsFrame{}, errNATS},
		{"arguments", "MSG a\r\n", natsFrame{}, errNATS},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n", natsFrame{}, errNATS},
		{"long line", "INFO " + strings.Repeat("x", 5000), natsFrame{}, errNATS},
		{"cut", "MSG a 1 10\r\nxx", natsFrame{}, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := readNATS(bufio.NewReaderSize(strings.NewReader(test.text), 4096), 100)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, f)
		})
	}
}

// MQTT 3.1.1, chapters 2 and 3.
func TestMQTTPackets(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       mqttPacket
		err        error
	}{
		{"connack", "\x20\x02\x01\x00", mqttPacket{kind: packetConnack, codes: []byte{1, 0}}, nil},
		{"suback", "\x90\x04\x00\x01\x02\x80", mqttPacket{kind: packetSuback, id: 1, codes: []byte{2, 0x80}}, nil},
		{"quality 0", "\x31\x06\x00\x03a/bx", mqttPacket{kind: packetPublish, topic: "a/b", body: []byte("x")}, nil},
		{"quality 2, again", "\x3d\x07\x00\x03a/b\x01\x02", mqttPacket{kind: packetPublish, id: 0x102, topic: "a/b", qos: 2, again: true, body: []byte{}}, nil},
		{"pubrel", "\x62\x02\x00\x09", mqttPacket{kind: packetPubrel, id: 9, codes: []byte{}}, nil},
		{"too large", "\x30\xcb\x01\x00\x01a" + strings.Repeat("x", 200), mqttPacket{kind: packetPublish, topic: "a", large: true}, nil},
		{"quality 3", "\x36\x05\x00\x01a\x00\x01", mqttPacket{}, errMQTT},
		{"number 0", "\x32\x05\x00\x01a\x00\x00", mqttPacket{}, errMQTT},
		{"topic beyond the end", "\x30\x04\x00\x09ab", mqttPacket{}, errMQTT},
		{"topic that is no text", "\x30\x03\x00\x01\xff", mqttPacket{}, errMQTT},
		{"topic with a zero", "\x30\x03\x00\x01\x00", mqttPacket{}, errMQTT},
		{"length of five bytes", "\x30\xff\xff\xff\xff\x01", mqttPacket{}, errMQTT},
		{"large packet", "\x90\x80\x80\x08", mqttPacket{}, errMQTT},
		{"type of clients", "\x10\x00", mqttPacket{}, errMQTT},
		{"no number", "\x90\x01\x00", mqttPacket{}, errMQTT},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n", mqttPacket{}, io.ErrUnexpectedEOF},
		{"cut", "\x30\x06\x00\x03a", mqttPacket{}, io.ErrUnexpectedEOF},
		{"cut in the length", "\x30\x80", mqttPacket{}, io.ErrUnexpectedEOF},
		{"end", "", mqttPacket{}, io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := readMQTT(bufio.NewReader(strings.NewReader(test.text)), 100)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, p)
		})
	}
}

func TestMQTTPacketsThatAreSent(t *testing.T) {
	c := &MQTTConfig{ClientID: "me", Version: 4, Clean: true, Server: Server{User: "u", Password: "p"}}
	require.Equal(t, "\x10\x14\x00\x04MQTT\x04\xc2\x00\x1e\x00\x02me\x00\x01u\x00\x01p", string(connectPacket(c)))
	c = &MQTTConfig{ClientID: "me", Version: 3}
	require.Equal(t, "\x10\x10\x00\x06MQIsdp\x03\x00\x00\x1e\x00\x02me", string(connectPacket(c)))
	all := []Subscription{{"a/+", 1}, {strings.Repeat("x", 200), 0}}
	require.Equal(t, "\x82\xd3\x01\x00\x01\x00\x03a/+\x01\x00\xc8"+strings.Repeat("x", 200)+"\x00", string(subscribePacket(all)))
	require.Equal(t, "\xa2\x07\x00\x02\x00\x03a/+", string(unsubscribePacket(all[:1])))
}

// readAllOf reads until the bytes end.
func readAllOf(data []byte, read func(*bufio.Reader) error) {
	r := bufio.NewReaderSize(bytes.NewReader(data), 4096)
	for {
		if err := read(r); err != nil {
			return
		}
	}
}

func FuzzNATS(f *testing.F) {
	f.Add([]byte("INFO {}\r\nMSG a 1 2\r\nxx\r\nHMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\nPING\r\n"))
	f.Add([]byte("MSG a 1 2147483647\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		readAllOf(data, func(r *bufio.Reader) error {
			frame, err := readNATS(r, 1000)
			if frame.message != nil {
				require.LessOrEqual(t, len(frame.message.Body), 1000)
				require.NotContains(t, frame.message.Topic, " ")
			}
			return err
		})
	})
}

func FuzzMQTT(f *testing.F) {
	f.Add([]byte("\x20\x02\x00\x00\x90\x03\x00\x01\x01\x32\x06\x00\x01a\x00\x01x\x62\x02\x00\x01\xd0\x00"))
	f.Add([]byte("\x30\xff\xff\xff\x7f\x00\x01a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		readAllOf(data, func(r *bufio.Reader) error {
			p, err := readMQTT(r, 1000)
			require.LessOrEqual(t, len(p.body), 1000)
			if err == nil && p.kind == packetPublish {
				require.Equal(t, p.qos > 0, p.id > 0)
			}
			return err
		})
	})
}

// A number that promises many bytes costs nothing until they come.
func TestRoomIsMadeAsBytesCome(t *testing.T) {
	_, err := readBytes(strings.NewReader("abc"), 1<<30)
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}
