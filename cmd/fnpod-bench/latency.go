package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies are times of requests, with two significant digits. The zero value is empty.
type latencies struct {
	counts *hdrhistogram.Histogram
}

// longest is the longest time that is told apart; what takes longer counts as this.
const longest = time.Minute

func (l *latencies) add(d time.Duration) {
	if l.counts == nil {
		l.counts = hdrhistogram.New(1, int64(longest), 2)
	}
	_ = l.counts.RecordValue(min(max(int64(d), 1), int64(longest))) // within its range
}

// quantile returns the time that the share q of all is not longer than, 0 if there is none.
func (l *latencies) quantile(q float64) time.Duration {
	if l.counts == nil {
		return 0
	}
	return time.Duration(l.counts.ValueAtQuantile(100 * q))
}
