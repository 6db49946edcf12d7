package watchdog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// probeHead is how much of an answer is read.
const probeHead = 4 << 10

var errStatusLine = errors.New("answer is not HTTP/1")

// checkHTTP sends one GET and reads the status.
func (p Probe) checkHTTP(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only when closed
	defer stop()
	if _, err := io.WriteString(conn, p.request()); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(conn, probeHead).ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return errStatusLine
		}
		return err
	}
	status, ok := statusOf(line)
	if !ok {
		return errStatusLine
	}
	if status < 200 || status > 399 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}

func (p Probe) request() string {
	return "GET " + p.target + " HTTP/1.1\r\nHost: " + p.host +
		"\r\nUser-Agent: fnpod-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
}

// statusOf reads "HTTP/1.x NNN" with anything after a space or the line's end.
func statusOf(line []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(rest) < 6 || !digit(rest[0]) || rest[1] != ' ' {
		return 0, false
	}
	code, after := rest[2:5], rest[5]
	if !digit(code[0]) || !digit(code[1]) || !digit(code[2]) {
		return 0, false
	}
	if after != ' ' && after != '\r' && after != '\n' {
		return 0, false
	}
	status := int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	return status, status >= 100
}

func digit(b byte) bool { return '0' <= b && b <= '9' }
