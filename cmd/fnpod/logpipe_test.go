package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// valve is a reader that can stop.
type valve struct {
	mu   sync.Mutex
	open chan struct{}
	text bytes.Buffer // guarded by mu
	err  error
}

func (v *valve) Write(b []byte) (int, error) {
	<-v.open
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return 0, v.err
	}
	return v.text.Write(b)
}

func (v *valve) lines() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Split(strings.TrimSuffix(v.text.String(), "\n"), "\n")
}

func opened() *valve {
	v := &valve{open: make(chan struct{})}
	close(v.open)
	return v
}

func TestM5RecordsArriveInOrderAndNoneIsLostAtTheEnd(t *testing.T) {
	v := opened()
	p := newLogPipe(v)
	var want []string
	for i := range 10_000 {
		line := fmt.Sprintf("record %d", i)
		want = append(want, line)
		n, err := p.Write([]byte(line + "\n"))
		require.NoError(t, err)
		require.Equal(t, len(line)+1, n)
	}
	p.close()
	require.Equal(t, want, v.lines())
	require.Zero(t, p.Dropped())
}

func TestM5AReaderThatStoppedCostsWholeRecordsWhichAreCountedAndTold(t *testing.T) {
	v := &valve{open: make(chan struct{})}
	p := newLogPipe(v)
	p.tell(func(lost uint64) { fmt.Fprintf(p, "lost %d\n", lost) })
	const most = 3 * logRoom / 101
	record := []byte(strings.Repeat("x", 100) + "\n")
	for range most { // returns, although nobody reads
		_, err := p.Write(record)
		require.NoError(t, err)
	}
	lost := p.Dropped()
	require.GreaterOrEqual(t, lost, uint64(most/4))
	close(v.open)
	p.close()
	lines := v.lines()
	require.Equal(t, fmt.Sprintf("lost %d", lost), lines[len(lines)-1])
	require.Len(t, lines, most-int(lost)+1)
	for _, line := range lines[:len(lines)-1] {
		require.Len(t, line, 100)
	}
}

func TestM5ARecordLargerThanTheRoomGoesThroughAlone(t *testing.T) {
	v := opened()
	p := newLogPipe(v)
	_, err := p.Write(bytes.Repeat([]byte("x"), 2*logRoom))
	require.NoError(t, err)
	p.close()
	require.Len(t, v.lines()[0], 2*logRoom)
}

func TestM5TheEndWaitsForAReaderThatStoppedOnlyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &valve{open: make(chan struct{})}
		p := newLogPipe(v)
		_, err := p.Write([]byte("record\n"))
		require.NoError(t, err)
		p.close()
		close(v.open) // for the goroutine, which would end with the process
	})
}

func TestM5AReaderThatIsGoneIsCounted(t *testing.T) {
	v := opened()
	v.err = errors.New("broken pipe")
	p := newLogPipe(v)
	_, err := p.Write([]byte("record\n"))
	require.NoError(t, err)
	p.close()
	require.EqualValues(t, 1, p.Dropped())
}

// counted counts what is written at once.
type counted struct {
	*valve
	writes atomic.Int32
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.valve.Write(b)
}

func TestRecordsOfSomeMillisecondsAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &counted{valve: opened()}
		p := newLogPipe(w)
		defer p.close()
		write := func(size int) {
			_, err := p.Write(append(bytes.Repeat([]byte("x"), size-1), '\n'))
			require.NoError(t, err)
			synctest.Wait()
		}
		write(10)
		require.EqualValues(t, 1, w.writes.Load(), "the first one at once")
		for range 10 {
			write(10)
		}
		require.EqualValues(t, 1, w.writes.Load())
		time.Sleep(logPause)
		synctest.Wait()
		require.EqualValues(t, 2, w.writes.Load())
		require.Len(t, w.lines(), 11)
		write(logMuch - 10)
		require.EqualValues(t, 2, w.writes.Load())
		write(10)
		require.EqualValues(t, 3, w.writes.Load(), "much at once")
		time.Sleep(time.Hour)
		write(10)
		require.EqualValues(t, 4, w.writes.Load())
		write(10)
		require.EqualValues(t, 4, w.writes.Load())
		p.close()
		require.Len(t, w.lines(), 15, "the end does not wait")
	})
}
