package main

import (
	"context"
	"runtime"
	"time"
)

// quotaLook is how often we look whether the CPU quota has changed.
const quotaLook = 5 * time.Second

// followQuota keeps processors, workers and the queue's limit at the CPU quota, which may change while a pod runs
// ("in-place resize"). processors reads it.
func (p *pod) followQuota(ctx context.Context, processors func() int) {
	t := time.NewTicker(quotaLook)
	defer t.Stop()
	for before := processors(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := processors()
		if now == before {
			continue
		}
		p.log.Info("CPU quota changed", "processors", now, "before", before)
		before = now
		if f, ok := p.function.(interface{ resize(processors int) int }); ok {
			if limit := f.resize(now); limit > 0 {
				p.queue.SetLimit(limit)
			}
		}
	}
}

// quota takes the CPU quota over and returns it as a number of processors.
func (p *pod) quota() int {
	tuneProcessors(p.log)
	return runtime.GOMAXPROCS(0)
}
