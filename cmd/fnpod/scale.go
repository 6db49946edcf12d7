package main

import (
	"context"
	"sync"
	"time"

	"github.com/fnpod/fnpod/metrics"
)

// waitsStep and waitsKept bound the waits that percentiles are made of: of the last minute.
const (
	waitsStep = 10 * time.Second
	waitsKept = 6
)

// recentWaits remembers what was counted a minute ago.
type recentWaits struct {
	mu   sync.Mutex
	past []metrics.Waits // guarded by mu; the oldest first
}

// keep takes note of the waits until ctx ends.
func (r *recentWaits) keep(ctx context.Context, set *metrics.Set) {
	t := time.NewTicker(waitsStep)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r.mu.Lock()
		r.past = append(r.past, set.Waits())
		if len(r.past) > waitsKept {
			r.past = r.past[1:]
		}
		r.mu.Unlock()
	}
}

// since returns what was counted a minute ago, or at the beginning.
func (r *recentWaits) since() metrics.Waits {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.past) < waitsKept {
		return metrics.Waits{}
	}
	return r.past[0]
}

// signalsDocument is what /signals shows to autoscalers, one number each, for example to the metrics-api scaler of KEDA.
type signalsDocument struct {
	Arrivals    float64 `json:"arrivals_per_second"`
	Executing   float64 `json:"executing"`
	Queued      float64 `json:"queued"`
	InFlight    uint64  `json:"in_flight"`
	Utilisation float64 `json:"utilisation"`
	Offered     float64 `json:"offered"`
	Saturation  float64 `json:"saturation"`
	WaitP50     float64 `json:"queue_wait_p50_seconds"`
	WaitP99     float64 `json:"queue_wait_p99_seconds"`
	SinceLast   float64 `json:"seconds_since_last_request"`
	Replicas    float64 `json:"suggested_replicas"`
	Limit       int     `json:"suggested_limit"`
}

func (p *pod) signals() any {
	s, waits, before := p.meter.Signals(), p.metrics.Waits(), p.waits.since()
	return signalsDocument{
		s.Arrivals, s.Executing, s.Queued, p.metrics.Requests().InFlight, s.Utilisation, s.Offered, s.Saturation,
		waits.Quantile(0.5, &before).Seconds(), waits.Quantile(0.99, &before).Seconds(), s.SinceLast.Seconds(), s.Replicas, s.Limit,
	}
}

// count is what the scaler of the KEDA HTTP add-on reads of one function.
type count struct {
	Concurrency int
	RPS         float64
}

// concurrency is the document of /queue: the form in which an interceptor of the KEDA HTTP add-on counts requests.
func (p *pod) concurrency() any {
	st := p.queue.Stats()
	return map[string]count{p.settings.Scaler: {st.Executing + st.Queued, p.meter.Signals().Arrivals}}
}

// signalSeries tells the metrics where the series for autoscalers come from.
func (p *pod) signalSeries() {
	m := p.metrics
	m.Func(metrics.Utilisation, func() float64 { return p.meter.Signals().Utilisation })
	m.Func(metrics.Saturation, func() float64 { return p.meter.Signals().Saturation })
	m.Func(metrics.OfferedLoad, func() float64 { return p.meter.Signals().Offered })
	m.Func(metrics.SinceLastRequest, func() float64 { return p.meter.Signals().SinceLast.Seconds() })
	m.Func(metrics.SuggestedReplicas, func() float64 { return p.meter.Signals().Replicas })
	m.Func(metrics.SuggestedLimit, func() float64 { return float64(p.meter.Signals().Limit) })
}
