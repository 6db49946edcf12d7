package proxy

import (
	"encoding/binary"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http2"
)

// newTestPeer is a connection to a function that says nothing.
func newTestPeer(t *testing.T) *http2Peer {
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return peerOn(near)
}

func peerOn(nc net.Conn) *http2Peer {
	p := &http2Peer{backend: &HTTPBackend{}, log: slog.New(slog.DiscardHandler), shard: &metrics.Shard{}, most: peerStreams, next: 1}
	p.init(nc, nil, streamWindow, p)
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

// brokenConn panics when it is used.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error)  { panic("read") }
func (brokenConn) Write([]byte) (int, error) { panic("write") }

// R7: a bug of ours ends the connection to the function that met it, and nothing else.
func TestR7APanicEndsAConnectionToTheFunction(t *testing.T) {
	for _, reading := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			p, st := peerOn(brokenConn{near}), &http2Stream{due: unknownLength}
			p.idling = time.NewTimer(time.Hour)
			p.backend.peers = []*http2Peer{p}
			p.mu.Lock()
			p.add(st, 1)
			if !reading {
				p.out = http2.AppendFrame(p.out, http2.Ping, 0, 0, make([]byte, 8))
				p.flush()
			}
			p.mu.Unlock()
			if reading {
				p.serve()
				require.Empty(t, p.backend.peers)
			}
			synctest.Wait()
			_, err := st.receive(make([]byte, 1), time.Time{})
			require.ErrorIs(t, err, http2.InternalError)
			require.NotZero(t, p.shard.Panics.Load())
		})
	}
}

// A peer that opens the window of the connection by single bytes makes one of those
// who wait run, and each has its turn.
func TestAWindowOfOneByteWakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 20
		p := newTestPeer(t)
		p.writing = true // nothing is written in this test
		p.sendWindow = 0
		var woken, ended int
		for i := range waiters {
			st := &http2Stream{due: unknownLength}
			p.mu.Lock()
			p.add(st, uint32(2*i+1))
			p.mu.Unlock()
			go func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				for p.sendWindow <= 0 {
					st.block(time.Time{})
					woken++
				}
				if st.send([]byte("x"), true, 0) == nil {
					ended++
				}
			}()
			synctest.Wait()
		}
		open := func(n uint32) {
			require.NoError(t, p.frame(http2.Head{Kind: http2.WindowUpdate, Length: 4}, binary.BigEndian.AppendUint32(nil, n)))
			require.NoError(t, p.look())
			synctest.Wait()
		}
		open(1)
		require.Equal(t, []int{1, 1}, []int{woken, ended})
		open(1)
		require.Equal(t, []int{2, 2}, []int{woken, ended})
		open(5)
		require.Equal(t, []int{7, 7}, []int{woken, ended}, "each wakes the next while there is room")
		open(1 << 20)
		require.Equal(t, []int{waiters, waiters}, []int{woken, ended})
		require.Empty(t, p.blocked)
	})
}

// Who waits for the connection's window and leaves does not keep others waiting.
func TestWhoGivesUpWakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPeer(t)
		p.writing = true // nothing is written in this test
		p.sendWindow = 0
		var sent []uint32
		streams := map[uint32]*http2Stream{}
		for id := uint32(1); id <= 9; id += 2 {
			st := &http2Stream{due: unknownLength}
			p.mu.Lock()
			p.add(st, id)
			p.mu.Unlock()
			streams[id] = st
			go func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				if st.send([]byte("xy"), true, 0) == nil {
					sent = append(sent, id)
				}
			}()
			synctest.Wait()
		}
		p.mu.Lock()
		p.sendWindow = 4
		p.wakeNext()                           // the first is woken,
		streams[1].mute = true                 // and finds that nobody wants its answer
		streams[3].sendWindow = 0              // the window of the second was taken back
		p.over(streams[5], http2.StreamClosed) // the third is over
		p.mu.Unlock()
		synctest.Wait()
		require.ElementsMatch(t, []uint32{7, 9}, sent)
		p.mu.Lock()
		p.fail(net.ErrClosed)
		p.mu.Unlock()
		synctest.Wait()
	})
}

// A reader that is always a little behind makes no body grow in memory.
func TestWhatWasReadOfABodyMakesRoom(t *testing.T) {
	p, st := newTestPeer(t), &http2Stream{due: unknownLength}
	p.writing = true // nothing is written in this test
	p.mu.Lock()
	p.add(st, 1)
	p.mu.Unlock()
	var sent, received byte
	send := func(n int) {
		b := http2.AppendFrame(nil, http2.Data, 0, 1, make([]byte, n))
		for i := range b[http2.HeadSize:] {
			b[http2.HeadSize+i] = sent
			sent++
		}
		p.takeIn()
		p.have += copy(p.in[p.have:], b)
		p.begun = true
		require.NoError(t, p.look())
		p.out = p.out[:0]
	}
	send(1)
	piece := make([]byte, 10_000)
	for range 5000 { // 50 MB, of which a byte is always left
		send(len(piece))
		n, err := st.receive(piece, time.Time{})
		require.NoError(t, err)
		for _, b := range piece[:n] {
			if b != received {
				require.Equal(t, received, b)
			}
			received++
		}
		require.LessOrEqual(t, cap(st.recv), 4*streamWindow)
	}
}
