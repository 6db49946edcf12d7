package main

import (
	"runtime"
	"time"

	"github.com/fnpod/fnpod/metrics"
)

// statusDocument is what /status shows.
type statusDocument struct {
	Version  string         `json:"version"`
	Ready    string         `json:"ready"` // "yes", or why not
	Uptime   float64        `json:"uptime_seconds"`
	Requests requestsStatus `json:"requests"`
	Queue    queueStatus    `json:"queue"`
	Function any            `json:"function"`
}

type requestsStatus struct {
	Accepted   uint64            `json:"accepted"`
	Answered   map[string]uint64 `json:"answered"`
	ClientGone uint64            `json:"client_gone"`
	Aborted    uint64            `json:"aborted"`
	InFlight   uint64            `json:"in_flight"`
}

type queueStatus struct {
	Limit     int     `json:"limit"` // 0 means none
	Places    int     `json:"places"`
	Executing int     `json:"executing"`
	Queued    int     `json:"queued"`
	Refused   uint64  `json:"refused"`
	TimedOut  uint64  `json:"timed_out"`
	Left      uint64  `json:"left"`
	Service   float64 `json:"service_seconds"`
}

// status is a picture of the pod at one moment.
func (p *pod) status() any {
	ready := "yes"
	if err := p.ready(); err != nil {
		ready = err.Error()
	}
	r, q := p.metrics.Requests(), p.queue.Stats()
	answered := map[string]uint64{}
	for class, n := range r.Answered {
		if class > 0 {
			answered[string(rune('0'+class))+"xx"] = n
		}
	}
	return statusDocument{
		Version: versionLine(), Ready: ready, Uptime: time.Since(p.started).Seconds(),
		Requests: requestsStatus{r.Accepted, answered, r.ClientGone, r.Aborted, r.InFlight},
		Queue: queueStatus{
			q.Limit, q.Depth, q.Executing, q.Queued, q.Refused, q.TimedOut, q.Cancelled,
			q.Service.Seconds(),
		},
		Function: p.function.Status(),
	}
}

// series tells the metrics where the pod's own series come from.
func (p *pod) series() {
	m := p.metrics
	m.Func(metrics.BuildInfo, func() float64 { return 1 }, buildVersion(), runtime.Version())
	m.Func(metrics.Ready, func() float64 { return oneIf(p.ready() == nil) })
	m.Func(metrics.QueueLimit, func() float64 { return float64(p.queue.Stats().Limit) })
	m.Func(metrics.QueuePlaces, func() float64 { return float64(p.queue.Stats().Depth) })
	m.Func(metrics.RequestsExecuting, func() float64 { return float64(p.queue.Stats().Executing) })
	m.Func(metrics.RequestsQueued, func() float64 { return float64(p.queue.Stats().Queued) })
	m.Func(metrics.QueueService, func() float64 { return p.queue.Stats().Service.Seconds() })
	m.Func(metrics.LogRecordsDropped, p.unwritten)
	if l, ok := p.log.Handler().(*limitedLog); ok {
		m.Func(metrics.LogRecordsSuppressed, func() float64 { return float64(l.total.Load()) })
	}
	p.signalSeries()
	p.function.Series(m)
}

// unwritten is the number of records and lines that were dropped because nobody read them.
func (p *pod) unwritten() (n float64) {
	if pipe, ok := p.stderr.(*logPipe); ok {
		n = float64(pipe.Dropped())
	}
	if p.lines != nil {
		n += float64(p.lines.Dropped())
	}
	return n
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
