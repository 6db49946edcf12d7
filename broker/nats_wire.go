package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// natsFrame is what a server of NATS says at a time (docs.nats.io, client protocol).
type natsFrame struct {
	op      string // in capitals: INFO, MSG, PING, PONG, +OK, -ERR
	text    []byte // of INFO and -ERR
	message *Message
}

var errNATS = errors.New("broker: not the protocol of NATS")

// readNATS reads one frame. A message above most bytes is skipped: its frame has none.
func readNATS(r *bufio.Reader, most int) (natsFrame, error) {
	text, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("%w: a line of more than %d bytes", errNATS, r.Size())
		}
		return natsFrame{}, err
	}
	text = bytes.TrimRight(text, "\r\n")
	word, rest := text, []byte(nil)
	if at := bytes.IndexAny(text, " \t"); at >= 0 {
		word, rest = text[:at], bytes.Trim(text[at:], " \t")
	}
	f := natsFrame{op: strings.ToUpper(string(word))}
	switch f.op {
	case "MSG":
		f.message, err = readNATSMessage(r, bytes.Fields(rest), false, most)
	case "HMSG":
		f.op = "MSG"
		f.message, err = readNATSMessage(r, bytes.Fields(rest), true, most)
	case "INFO", "-ERR":
		f.text = bytes.Clone(rest)
	case "PING", "PONG", "+OK":
	default:
		err = fmt.Errorf("%w: %.20q", errNATS, text)
	}
	return f, err
}

// readNATSMessage reads what follows the line of a message: its header, if it has one, and its body. args are the subject,
// the number of the subscription, maybe where an answer should go, and the sizes.
func readNATSMessage(r *bufio.Reader, args [][]byte, hasHeader bool, most int) (*Message, error) {
	sizes := 1
	if hasHeader {
		sizes = 2
	}
	if n := len(args) - sizes; n != 2 && n != 3 {
		return nil, fmt.Errorf("%w: a message with %d arguments", errNATS, len(args))
	}
	topic := string(args[0])
	head := 0
	total, err := strconv.ParseUint(string(args[len(args)-1]), 10, 31)
	if err == nil && hasHeader {
		var n uint64
		n, err = strconv.ParseUint(string(args[len(args)-2]), 10, 31)
		head = int(n)
	}
	if err != nil || uint64(head) > total {
		return nil, fmt.Errorf("%w: sizes of a message", errNATS)
	}
	if total > uint64(most) {
		_, err := io.CopyN(io.Discard, r, int64(total)+2)
		return nil, err
	}
	body, err := readBytes(r, int(total)+2)
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(body, []byte("\r\n")) {
		return nil, fmt.Errorf("%w: a message without an end", errNATS)
	}
	return &Message{Topic: topic, Header: natsHeader(body[:head]), Body: body[head:total:total]}, nil
}

// natsHeader reads a header as far as it is one: it was written by whoever published the message.
func natsHeader(text []byte) map[string][]string {
	_, text, _ = bytes.Cut(text, []byte{'\n'}) // the version
	var header map[string][]string
	for line := range bytes.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if !ok || name == "" {
			continue
		}
		if header == nil {
			header = map[string][]string{}
		}
		header[name] = append(header[name], strings.TrimSpace(value))
	}
	return header
}

// readBytes reads n bytes. Room for many is made as they come: a number alone costs nothing.
func readBytes(r io.Reader, n int) ([]byte, error) {
	const atOnce = 1 << 20
	if n <= atOnce {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	var b bytes.Buffer
	b.Grow(atOnce)
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
