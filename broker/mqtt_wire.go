package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Types of packets (MQTT 3.1.1, section 2.2.1), in the upper half of their first byte.
const (
	packetConnect     = 0x10
	packetConnack     = 0x20
	packetPublish     = 0x30
	packetPuback      = 0x40
	packetPubrec      = 0x50
	packetPubrel      = 0x60
	packetPubcomp     = 0x70
	packetSubscribe   = 0x80
	packetSuback      = 0x90
	packetUnsubscribe = 0xa0
	packetUnsuback    = 0xb0
	packetPingreq     = 0xc0
	packetPingresp    = 0xd0
	packetDisconnect  = 0xe0
)

// mqttPacket is one packet that a broker sends.
type mqttPacket struct {
	kind  byte
	id    uint16 // 0: it has none
	codes []byte // of CONNACK and SUBACK

	// of PUBLISH
	topic string
	qos   byte
	again bool   // it was sent before
	body  []byte // nil: it was too large
	large bool
}

var errMQTT = errors.New("broker: not the protocol of MQTT")

// mostControl is the largest packet that is no message.
const mostControl = 64 << 10

// readMQTT reads one packet. The body of a message above most bytes is skipped.
func readMQTT(r *bufio.Reader, most int) (p mqttPacket, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return p, err
	}
	p.kind = first & 0xf0
	left, err := readLength(r)
	if err != nil {
		return p, err
	}
	if p.kind == packetPublish {
		return p, p.readPublish(r, first&0x0f, left, most)
	}
	if left > mostControl {
		return p, fmt.Errorf("%w: a packet of type %d with %d bytes", errMQTT, first>>4, left)
	}
	text, err := readBytes(r, left)
	if err != nil {
		return p, cutShort(err)
	}
	switch p.kind {
	case packetConnack:
		p.codes = text
		if len(text) != 2 {
			err = fmt.Errorf("%w: CONNACK of %d bytes", errMQTT, len(text))
		}
	case packetPubrel, packetSuback, packetUnsuback:
		if len(text) < 2 {
			return p, fmt.Errorf("%w: a packet without its number", errMQTT)
		}
		p.id, p.codes = binary.BigEndian.Uint16(text), text[2:]
	case packetPingresp:
	default:
		err = fmt.Errorf("%w: a packet of type %d", errMQTT, first>>4)
	}
	return p, err
}

// readLength reads how many bytes follow (section 2.2.3).
func readLength(r *bufio.Reader) (n int, err error) {
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, cutShort(err)
		}
		if n |= int(b&0x7f) << shift; b < 0x80 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: a length of five bytes", errMQTT)
}

// readPublish reads a message (section 3.3).
func (p *mqttPacket) readPublish(r *bufio.Reader, flags byte, left, most int) error {
	p.again, p.qos = flags&8 != 0, flags>>1&3
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return cutShort(err)
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	head := 2 + n
	if p.qos > 0 {
		head += 2
	}
	if head > left || p.qos > 2 {
		return fmt.Errorf("%w: a message with a topic of %d bytes, quality %d", errMQTT, n, p.qos)
	}
	text, err := readBytes(r, head-2)
	if err != nil {
		return cutShort(err)
	}
	p.topic = string(text[:n])
	if p.qos > 0 {
		if p.id = binary.BigEndian.Uint16(text[n:]); p.id == 0 {
			return fmt.Errorf("%w: a message without a number", errMQTT)
		}
	}
	if !utf8.ValidString(p.topic) || strings.ContainsRune(p.topic, 0) {
		return fmt.Errorf("%w: a topic that is no text", errMQTT)
	}
	if left -= head; left > most {
		p.large = true
		_, err = io.CopyN(io.Discard, r, int64(left))
		return cutShort(err)
	}
	p.body, err = readBytes(r, left)
	return cutShort(err)
}

// cutShort is the error of a packet that does not go on.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendPacket appends a packet with a body.
func appendPacket(b []byte, first byte, body []byte) []byte {
	b = append(b, first)
	n := len(body)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

// numbered is a packet that has but a number.
func numbered(first byte, id uint16) []byte { return []byte{first, 2, byte(id >> 8), byte(id)} }

// appendText appends a text or bytes behind their length.
func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// connectPacket asks to be let in (section 3.1).
func connectPacket(c *MQTTConfig) []byte {
	name := "MQTT"
	if c.Version == 3 {
		name = "MQIsdp"
	}
	body := append(appendText(nil, name), c.Version)
	var flags byte
	if c.Clean {
		flags |= 0x02
	}
	if c.User != "" {
		flags |= 0x80
	}
	if c.Password != "" {
		flags |= 0x40
	}
	body = append(body, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(pingTime.Seconds()))
	body = appendText(body, c.ClientID)
	if c.User != "" {
		body = appendText(body, c.User)
	}
	if c.Password != "" {
		body = appendText(body, c.Password)
	}
	return appendPacket(nil, packetConnect, body)
}

// subscribePacket asks for messages, as the packet 1 (section 3.8).
func subscribePacket(all []Subscription) []byte {
	body := []byte{0, 1}
	for _, s := range all {
		body = append(appendText(body, s.Topic), s.QoS)
	}
	return appendPacket(nil, packetSubscribe|2, body)
}

// unsubscribePacket wants no more of them, as the packet 2 (section 3.10).
func unsubscribePacket(all []Subscription) []byte {
	body := []byte{0, 2}
	for _, s := range all {
		body = appendText(body, s.Topic)
	}
	return appendPacket(nil, packetUnsubscribe|2, body)
}
