package hostile

import (
	"net"
	"strings"
	"time"
)

// Script is an answer of the function, written as it stands. It is played once, for the first request that is no
// probe; all others get the usual answer.
type Script struct {
	Pieces []string // with a pause between them
	Early  bool     // answers when the head is there, whatever of the body is; then reads the rest unless it ends
	End    End
	Hangs  bool // says nothing until the server gives up
}

// Bytes returns all that the function sends.
func (s *Script) Bytes() string { return strings.Join(s.Pieces, "") }

// pause lies between two pieces of either side: long enough for a server to act on the first.
const pause = 4 * time.Millisecond

// finish ends a connection the way End says. After a FIN it takes what still comes, so that nothing is reset.
func finish(c net.Conn, end End) {
	tcp, ok := c.(*net.TCPConn)
	if !ok || end == StaysOpen {
		return
	}
	if end == Resets {
		_ = tcp.SetLinger(0) // it may be closed already
		_ = tcp.Close()
		return
	}
	_ = tcp.CloseWrite() // likewise
}
