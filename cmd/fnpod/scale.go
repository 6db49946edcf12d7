package main

import "github.com/fnpod/fnpod/metrics"

// signalsDocument is what /signals shows to autoscalers, one number each, for example to the metrics-api scaler of KEDA.
type signalsDocument struct {
	Arrivals    float64 `json:"arrivals_per_second"`
	Executing   float64 `json:"executing"`
	Queued      float64 `json:"queued"`
	InFlight    uint64  `json:"in_flight"`
	Utilisation float64 `json:"utilisation"`
	Offered     float64 `json:"offered"`
	Saturation  float64 `json:"saturation"`
	SinceLast   float64 `json:"seconds_since_last_request"`
	Replicas    float64 `json:"suggested_replicas"`
	Limit       int     `json:"suggested_limit"`
}

func (p *pod) signals() any {
	s := p.meter.Signals()
	return signalsDocument{
		s.Arrivals, s.Executing, s.Queued, p.metrics.Requests().InFlight, s.Utilisation, s.Offered, s.Saturation,
		s.SinceLast.Seconds(), s.Replicas, s.Limit,
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
