package main

import (
	"math/bits"
	"time"
)

// subBits is the resolution of a histogram: 2^subBits buckets for every power of two, so a bucket is 1.6 % wide.
const subBits = 6

// histogram counts durations. The zero value is empty.
type histogram struct {
	counts [(64 - subBits + 1) << subBits]int64
	total  int64
}

// add counts one duration.
func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// quantile returns the duration that the share q of all is not longer than: the middle of its bucket, 0 if there is none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, int64(q*float64(h.total)+0.5))
	for i, n := range h.counts {
		if rank -= n; rank <= 0 && n > 0 {
			low, next := boundOf(i), boundOf(i+1)
			return time.Duration(low + (next-low)/2)
		}
	}
	return 0
}

// bucketOf maps small values to themselves, larger ones by their leading subBits+1 bits.
func bucketOf(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// boundOf is the smallest value in bucket i.
func boundOf(i int) uint64 {
	if i < 1<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i&(1<<subBits-1)+1<<subBits) << shift
}
