package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http2"
)

// newTestPeer is a connection to a function that says nothing.
func newTestPeer(t *testing.T) *http2Peer {
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	p := &http2Peer{backend: &HTTPBackend{}, most: peerStreams, next: 1}
	p.init(near, nil, p)
	return p
}

// A session can fail while its reader is about to make a stream known: it must not wait for
// what never comes.
func TestAStreamOfAFailedSessionIsOver(t *testing.T) {
	p, st := newTestPeer(t), &http2Stream{due: unknownLength}
	p.mu.Lock()
	p.fail(net.ErrClosed)
	p.add(st, 1)
	p.mu.Unlock()
	_, err := st.receive(make([]byte, 1), time.Now().Add(-time.Second))
	require.ErrorIs(t, err, net.ErrClosed)
}

// An answer that comes when the session has failed goes nowhere: its buffers are another
// request's by then.
func TestAHeadForACallThatIsOverIsDropped(t *testing.T) {
	p := newTestPeer(t)
	c := &call{head: make([]byte, 0, 100)}
	c.of, c.headless, c.due = c, true, unknownLength
	p.mu.Lock()
	p.add(&c.http2Stream, 1)
	p.fail(net.ErrClosed)
	p.mu.Unlock()
	c.end()
	others := append(c.head[:0], "another's"...)
	block := http2.AppendField(http2.AppendStatus(nil, 200), []byte("x-late"), []byte("v"))
	require.NoError(t, p.whole(1, block, false))
	require.Equal(t, "another's", string(others))
	require.Zero(t, c.status)
}
