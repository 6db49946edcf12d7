//go:build !race

package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A body that is held whole takes the memory of the one before it.
func TestALargeBufferAllocatesNothingTheNextTime(t *testing.T) {
	const body = 1 << 20
	giveBuffer(takeBuffer(body))
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			giveBuffer(takeBuffer(body))
		}
	})
	require.Less(t, r.AllocedBytesPerOp(), int64(body/10))
}
