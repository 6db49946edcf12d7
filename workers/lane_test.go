package workers

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLaneKeepsItsSize(t *testing.T) {
	l, err := newLane(page)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	fd := int(l.file.Fd())
	require.ErrorIs(t, unix.Ftruncate(fd, 0), unix.EPERM)
	require.ErrorIs(t, unix.Ftruncate(fd, 1<<30), unix.EPERM)
}

func TestIdleLaneGivesItsMemoryBack(t *testing.T) {
	l, err := newLane(page)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	for i := range l.memory {
		l.memory[i] = 1
	}
	l.used = true
	require.Positive(t, blocks(t, l))
	require.NoError(t, l.punch())
	require.Zero(t, blocks(t, l))
	require.Zero(t, l.memory[0])
}

func blocks(t *testing.T, l *lane) int64 {
	t.Helper()
	var s unix.Stat_t
	require.NoError(t, unix.Fstat(int(l.file.Fd()), &s))
	return s.Blocks
}
