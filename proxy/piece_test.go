package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Buffers of all sizes are at least as large as was asked for, and those that have a pool go back into it.
func TestBuffersOfAllSizesComeBack(t *testing.T) {
	for _, n := range []int{1, keepMax, keepMax + 1, bigBuffer, bigBuffer + 1, 2 * bigBuffer, 2*bigBuffer + 1, 1 << 20, 4 << 20, 64 * bigBuffer, 64*bigBuffer + 1} {
		b := takeBuffer(n)
		require.GreaterOrEqual(t, len(b), n)
		require.LessOrEqual(t, len(b), max(2*n, bigBuffer), n)
		giveBuffer(b[:n])
		giveBuffer(b[:0:1]) // what is no whole buffer is nobody's
	}
}
