package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// MaxMessage is the largest message that is handled, in bytes. A larger one is skipped without being held in memory.
const MaxMessage = 64 << 20

// Server is where a broker is.
type Server struct {
	Address        string      // host:port
	User, Password string      // empty: none
	TLS            *tls.Config // nil: without TLS
}

const (
	dialTime   = 10 * time.Second // to the first answer of a server
	writeTime  = 10 * time.Second
	pingTime   = 30 * time.Second
	silentTime = pingTime + pingTime/2 // a server that says nothing for that long is gone
)

// line is a connection to a server. One goroutine reads, any may send.
type line struct {
	net.Conn

	in *bufio.Reader
	mu sync.Mutex // around sending
}

// dial connects; all that is said until patient is bounded by dialTime.
func dial(ctx context.Context, address string, secure *tls.Config) (*line, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: conn}
	l.in = bufio.NewReaderSize(l, 32<<10)
	if err = l.SetDeadline(time.Now().Add(dialTime)); err == nil && secure != nil {
		err = l.encrypt(ctx, address, secure)
	}
	if err != nil {
		_ = l.Close() // nothing is in it
		return nil, err
	}
	return l, nil
}

// encrypt begins TLS.
func (l *line) encrypt(ctx context.Context, address string, c *tls.Config) error {
	if l.in.Buffered() > 0 {
		return fmt.Errorf("%s: bytes before TLS", address)
	}
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	conn := tls.Client(l.Conn, c)
	l.Conn = conn
	return conn.HandshakeContext(ctx)
}

// cutBy makes all reading and sending end with ctx, until the function that it returns is called.
func (l *line) cutBy(ctx context.Context) func() bool {
	raw := l.Conn // that of TLS may follow
	return context.AfterFunc(ctx, func() { _ = raw.Close() })
}

// patient ends the time limit of dial. From now on each send and each read has its own.
func (l *line) patient() error { return l.SetDeadline(time.Time{}) }

// send writes parts as one.
func (l *line) send(parts ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := l.Write(slices.Concat(parts...))
	return err
}

// converse reads until the connection ends, and beside that keeps it alive. It closes the connection; the error is read's.
func (l *line) converse(read func() error, keepAlive func(ended <-chan struct{})) error {
	ended, kept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(kept)
		keepAlive(ended)
	}()
	err := read()
	_ = l.Close() // err says why
	close(ended)
	<-kept
	return err
}

// hangUp closes without destroying what was sent: with bytes unread, closing is a reset. The reader closes ended when it has
// seen the end.
func (l *line) hangUp(ended <-chan struct{}) {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		l.closeAfter(ended, time.Second)
	}
	_ = l.Close() // nothing of it is needed any more
}

// closeAfter closes when the reader has not come to its end in time.
func (l *line) closeAfter(ended <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		_ = l.Close() // the reader notices
	}
}
