package metrics

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// bounds are the upper ends of the buckets. They are the same for all histograms,
// so that any two can be compared; the last one takes what is longer than 60 s.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 20 * time.Second, 30 * time.Second, 60 * time.Second,
	math.MaxInt64,
}

// Histogram counts durations in buckets. The zero value is ready. Any number of
// goroutines may use it at the same time; it never locks and never allocates.
type Histogram struct {
	counts [len(bounds)]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts d. A negative duration counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucket returns the first bucket whose bound is not below d. It cuts the numbers
// into cells, four to each power of two, and looks up the bucket in which the cell
// begins. No cell holds more than one bound, so d lies there or in the next.
func bucket(d time.Duration) uint8 {
	b := cells[cell(uint64(d))]
	if d > bounds[b] {
		b++
	}
	return b
}

// cell numbers the cells: the position of the highest bit, then the two bits below
// it. What is below 8 ns shares a cell.
func cell(v uint64) uint8 {
	v |= 7
	n := bits.Len64(v)
	return uint8(n<<2) | uint8(v>>(n-3)&3)
}

// cells holds the bucket in which each cell begins.
var cells = firstBuckets()

func firstBuckets() (first [256]uint8) {
	for n := 3; n < 64; n++ {
		for top := uint64(4); top < 8; top++ {
			begin := time.Duration(top << (n - 3))
			for begin > bounds[first[cell(uint64(begin))]] {
				first[cell(uint64(begin))]++
			}
		}
	}
	return first
}

// reading is the sum of some histograms at the time of a scrape.
type reading struct {
	counts [len(bounds)]uint64
	sum    time.Duration
}

// add adds what h counted.
func (r *reading) add(h *Histogram) {
	for i := range h.counts {
		r.counts[i] += h.counts[i].Load()
	}
	r.sum += time.Duration(h.sum.Load())
}

// cumulative returns the number of all observations and, for each bound in seconds
// but the last, of those up to it.
func (r *reading) cumulative() (total uint64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds)-1)
	for i, n := range r.counts {
		total += n
		if i < len(bounds)-1 {
			upTo[bounds[i].Seconds()] = total
		}
	}
	return total, upTo
}

// Waits is what was counted of the waits for a slot up to one moment. The zero value is
// the beginning.
type Waits struct{ reading reading }

// Waits returns what was counted so far.
func (s *Set) Waits() (w Waits) {
	for i := range s.shards {
		w.reading.add(&s.shards[i].QueueWait)
	}
	return w
}

// Quantile returns the wait that a part q, 0 to 1, of the requests since an earlier
// moment did not exceed, interpolated within its bucket; 0 when there were none.
func (w *Waits) Quantile(q float64, since *Waits) time.Duration {
	var counts [len(bounds)]uint64
	var total uint64
	for i := range counts {
		counts[i] = w.reading.counts[i] - since.reading.counts[i]
		total += counts[i]
	}
	rank := q * float64(total)
	low := time.Duration(0)
	for i, n := range counts {
		if n > 0 && rank <= float64(n) {
			if i == len(bounds)-1 {
				return low
			}
			return low + time.Duration(float64(bounds[i]-low)*rank/float64(n))
		}
		rank -= float64(n)
		low = bounds[i]
	}
	return 0
}
