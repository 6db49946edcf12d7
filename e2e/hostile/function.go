package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Targets of probes: the runner sends them beside a case, and they are told apart from its requests.
const (
	behindTarget = "/behind" // in the stream behind bytes that are refused
	againTarget  = "/again"  // on the connection of a case that leaves it open
	afterTarget  = "/after"  // on a connection of its own, after the case
)

// Function is the server behind the one under test. It reads with a strict reader, records every request, whole or
// not, and answers 200 with "METHOD target" unless it plays a Script. It serves one case at a time.
type Function struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	script *Script        // guarded by mu; nil when it was played
	conns  map[*link]bool // guarded by mu
	seen   []Seen         // guarded by mu
	heads  int            // guarded by mu; heads that came since begin
	closed bool           // guarded by mu
}

// link is one connection to the function.
type link struct {
	f   *Function
	nc  *net.TCPConn
	raw syscall.RawConn

	in   []byte // guarded by f.mu; what was read and belongs to no request yet
	busy bool   // guarded by f.mu; from the first byte of a request to the end of its answer
	head bool   // guarded by f.mu; the head in front of in was noticed
	paid bool   // guarded by f.mu; the request in front of in was answered early
}

// StartFunction listens on a free port of the loopback interface.
func StartFunction(ctx context.Context) (*Function, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Function{listener: l, conns: map[*link]bool{}}
	f.wait.Go(f.accept)
	return f, nil
}

// Addr is where it listens, HOST:PORT.
func (f *Function) Addr() string { return f.listener.Addr().String() }

// Close ends it with all its connections.
func (f *Function) Close() error {
	err := f.listener.Close()
	f.mu.Lock()
	f.closed = true
	open := slices.Collect(maps.Keys(f.conns))
	f.mu.Unlock()
	for _, l := range open {
		_ = l.nc.Close() // waits until no call is under way on it, and those may want f.mu
	}
	f.wait.Wait()
	return err
}

func (f *Function) accept() {
	for {
		nc, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		l := &link{f: f, nc: nc.(*net.TCPConn)}
		if l.raw, err = l.nc.SyscallConn(); err != nil {
			_ = nc.Close()
			continue
		}
		f.mu.Lock()
		closed := f.closed
		f.conns[l] = true
		f.mu.Unlock()
		if closed {
			_ = nc.Close()
		}
		f.wait.Go(l.serve)
	}
}

// begin forgets what was seen and sets the script of the next request.
func (f *Function) begin(s *Script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script, f.seen, f.heads = s, nil, 0
}

// take returns what was seen since begin.
func (f *Function) take() []Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// headSeen reports whether the head of a request came since begin.
func (f *Function) headSeen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heads > 0
}

// quiet reports that no connection is inside a request and nothing is unread.
func (f *Function) quiet() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.conns {
		if l.busy || len(l.in) > 0 || l.unread() {
			return false
		}
	}
	return true
}

// unread looks for bytes, or an end, that the kernel holds.
func (l *link) unread() bool {
	var waiting bool
	err := l.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting = !errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && waiting
}

// read takes the next bytes. Between the kernel and l.in there is no moment in which they are in neither.
func (l *link) read() error {
	var b [32 << 10]byte
	var failed error
	err := l.raw.Read(func(fd uintptr) bool {
		l.f.mu.Lock()
		defer l.f.mu.Unlock()
		n, err := syscall.Read(int(fd), b[:])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			failed = err
		case n == 0:
			failed = io.EOF
		default:
			l.in = append(l.in, b[:n]...)
			l.busy = true
		}
		return true
	})
	return errors.Join(err, failed)
}

func (l *link) serve() {
	defer l.end()
	for l.read() == nil {
		for {
			s, again := l.next()
			if s == nil {
				break
			}
			if !l.play(s) {
				return
			}
			if !again {
				break
			}
		}
	}
}

// end records what came of a request that was not whole, and forgets the connection.
func (l *link) end() {
	f := l.f
	defer l.nc.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(l.in) > 0 {
		seen, _, _ := readRequest(l.in)
		if seen.Bad == "" && seen.Method == "" {
			seen.Target = fmt.Sprintf("%.80q", l.in)
		}
		f.seen = append(f.seen, seen)
	}
	delete(f.conns, l)
}

// next takes a request off what was read. It returns how to answer, nil to read on; again tells that more than this
// request was here.
func (l *link) next() (s *Script, again bool) {
	f := l.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(l.in) == 0 {
		l.busy = false
		return nil, false
	}
	seen, size, head := readRequest(l.in)
	if head && !l.head {
		l.head = true
		f.heads++
	}
	script := f.script
	if seen.Target == afterTarget || seen.Target == againTarget {
		script = nil
	}
	if seen.Bad != "" {
		f.seen = append(f.seen, seen)
		l.in = nil
		return &Script{Pieces: []string{"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"}, End: Closes}, false
	}
	if script != nil && script.Early && head {
		f.script, l.paid = nil, true
		return script, true
	}
	if size == 0 {
		return nil, false
	}
	f.seen = append(f.seen, seen)
	l.in, l.head = l.in[size:], false
	if l.paid {
		l.paid, l.busy = false, len(l.in) > 0
		return &Script{}, len(l.in) > 0
	}
	if script != nil {
		f.script = nil
		return script, len(l.in) > 0
	}
	return usual(seen), len(l.in) > 0
}

// usual is the answer of a function that behaves.
func usual(seen Seen) *Script {
	body := seen.Method + " " + seen.Target
	text := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
	if seen.Method != "HEAD" {
		text += body
	}
	s := &Script{Pieces: []string{text}}
	for _, f := range seen.Fields {
		if strings.EqualFold(f.Name, "Connection") && strings.EqualFold(f.Value, "close") {
			s.End = Closes
		}
	}
	return s
}

// play answers and reports whether the connection goes on.
func (l *link) play(s *Script) bool {
	for i, piece := range s.Pieces {
		if i > 0 {
			time.Sleep(pause) //nolint:forbidigo // the pause is what the script says
		}
		if _, err := io.WriteString(l.nc, piece); err != nil {
			return false
		}
	}
	if s.Hangs {
		l.settle()
		_, _ = io.Copy(io.Discard, l.nc) // until the server gives up
		return false
	}
	if s.End == StaysOpen {
		l.f.mu.Lock()
		l.busy = len(l.in) > 0
		l.f.mu.Unlock()
		return true
	}
	finish(l.nc, s.End)
	l.settle()
	if s.End == Closes {
		_ = l.nc.SetReadDeadline(time.Now().Add(time.Second)) // fails on a closed connection only
		_, _ = io.Copy(io.Discard, l.nc)                      // the other side ends it
	}
	return false
}

// settle ends the part of a request on a connection that takes no other.
func (l *link) settle() {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.busy, l.in = false, nil
}
