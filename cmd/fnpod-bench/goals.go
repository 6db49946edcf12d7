package main

import (
	"fmt"
	"math"
	"strconv"
)

// allTargets are all of them, with what was measured.
func allTargets(e evidence) []group {
	return []group{
		{"Proxy: 4 bytes, by connections", e.proxyTargets()},
		{"In the place of Knative's queue-proxy", e.knativeTargets()},
		{"In the place of OpenFaaS' of-watchdog", e.openfaasTargets()},
		{"In the place of Nuclio's processor", e.nuclioTargets()},
		{"Warm workers", e.workerTargets()},
		{"A process for each request", e.processTargets()},
		{"Overload: answered in time, % of what eight workers can do", e.overloadTargets()},
		{"Memory, start, system calls", e.footprintTargets()},
	}
}

// byConnections are ratios to a reference.
func (e evidence) byConnections(c cell, variant, reference string, f func(*record) float64, connections ...int) (cases []measured) {
	for _, n := range connections {
		c.connections = n
		value, ok := e.ratio(c, variant, reference, f)
		cases = append(cases, measured{strconv.Itoa(n), value, ok})
	}
	return cases
}

// inPlace are ratios of other programs to the same reference.
func (e evidence) inPlace(c cell, names []string, reference string, f func(*record) float64, connections ...int) (all []peerCases) {
	for _, name := range names {
		all = append(all, peerCases{name, e.byConnections(c, name, reference, f, connections...)})
	}
	return all
}

// compared is a target with the ratios of fnpod, or what it is called, and of others to the same reference.
func (e evidence) compared(t target, c cell, variant string, others []string, reference string, f func(*record) float64, connections ...int) target {
	t.cases = e.byConnections(c, variant, reference, f, connections...)
	t.peers = e.inPlace(c, others, reference, f, connections...)
	return t
}

// lesser are programs that do less than fnpod on the way of a request.
func lesser() []string { return []string{relayName, haproxyName, nginxName} }

func (e evidence) proxyTargets() []target {
	fig8 := cell{experiment: "fig8"}
	at := func(n int) cell { return cell{experiment: "fig8", connections: n} }
	slow := cell{experiment: "rate", connections: 10, rate: 500}
	large := cell{experiment: "sizes", connections: 8, body: 10 << 20}
	return []target{
		e.compared(target{what: "CPU ÷ nginx, one worker", bound: 1, by: "fig8"}, fig8, fnpodName, []string{relayName, haproxyName}, nginxName, cpuOfRecord, 1, 10, 100, 1000),
		e.compared(target{what: "the same, for an event loop", bound: 0.75, by: "fig8"}, fig8, fnpodName, []string{relayName, haproxyName}, nginxName, cpuOfRecord, 100),
		{what: "CPU ÷ raw relay", bound: 1.3, by: "fig8", cases: e.byConnections(fig8, fnpodName, relayName, cpuOfRecord, 100)},
		e.compared(target{what: "CPU ÷ HAProxy, one thread", bound: 0.85, by: "fig8"}, fig8, fnpodName, []string{relayName, nginxName}, haproxyName, cpuOfRecord, 100),
		e.compared(target{what: "CPU ÷ queue-proxy", bound: 0.18, by: "fig8"}, fig8, fnpodName, lesser(), queueProxyName, cpuOfRecord, 100),
		e.compared(target{what: "CPU ÷ of-watchdog", bound: 0.2, by: "fig8"}, fig8, fnpodName, lesser(), fwatchdogName, cpuOfRecord, 100),
		e.compared(target{what: "throughput ÷ direct", bound: 0.5, least: true, by: "fig8"}, fig8, fnpodName, lesser(), directName, rateOfRecord, 100),
		e.compared(target{what: "throughput ÷ queue-proxy", bound: 3.5, least: true, by: "fig8"}, fig8, fnpodName, lesser(), queueProxyName, rateOfRecord, 100),
		{what: "p50 ÷ queue-proxy", bound: 0.55, by: "fig8", cases: e.byConnections(fig8, fnpodName, queueProxyName, p50OfRecord, 1)},
		{what: "what is added to the p50 of direct ÷ nginx, 1 connection", bound: 1, by: "fig8", cases: single(e.added(at(1), fnpodName, nginxName, p50OfRecord))},
		e.compared(target{what: "twelve fields: CPU ÷ nginx", bound: 0.75, by: "browser"}, cell{experiment: "browser"}, fnpodName, []string{relayName, haproxyName}, nginxName, cpuOfRecord, 100),
		{what: "10 requests at once: CPU ÷ HAProxy with maxconn", bound: 0.9, by: "limit", cases: e.byConnections(cell{experiment: "limit"}, fnpodName, haproxyName, cpuOfRecord, 100)},
		{what: "500 requests/s: CPU ÷ raw relay", bound: 1.6, by: "rate", cases: single(e.ratio(slow, fnpodName, relayName, cpuOfRecord))},
		{what: "500 requests/s: CPU ÷ queue-proxy", bound: 0.3, by: "rate", cases: single(e.ratio(slow, fnpodName, queueProxyName, cpuOfRecord))},
		{what: "unix socket: CPU ÷ TCP", bound: 0.95, by: "fig8", cases: e.byConnections(fig8, fnpodUnix.name, fnpodName, cpuOfRecord, 10, 100)},
		e.compared(target{what: "RSS ÷ queue-proxy, busy", bound: 0.2, by: "fig8"}, fig8, fnpodName, []string{haproxyName, nginxName}, queueProxyName, rssOfRecord, 1000),
		{what: "10 MB there and back: CPU ÷ HAProxy", bound: 0.4, by: "sizes", cases: single(e.ratio(large, fnpodName, haproxyName, cpuOfRecord))},
		{what: "10 MB there and back: CPU ÷ nginx", bound: 0.15, by: "sizes", cases: single(e.ratio(large, fnpodName, nginxName, cpuOfRecord))},
	}
}

func (e evidence) knativeTargets() []target {
	free, grpc := cell{experiment: "knative"}, cell{experiment: "knative", protocol: "gRPC"}
	targets := []target{
		{what: "CPU ÷ queue-proxy", bound: 1.0 / 6, by: "knative", cases: e.byConnections(free, asQueueProxyName, queueProxyName, cpuOfRecord, 1, 10, 100, 1000), peers: e.inPlace(cell{experiment: "fig8"}, lesser(), queueProxyName, cpuOfRecord, 1, 10, 100, 1000)},
	}
	for _, limit := range []struct {
		n           int
		connections []int
	}{{1, []int{1, 10}}, {10, []int{1, 10, 100}}, {100, []int{1, 10, 100, 1000}}} {
		ours, theirs := fmt.Sprintf("%s, limit %d", asQueueProxyName, limit.n), fmt.Sprintf("%s, limit %d", queueProxyName, limit.n)
		targets = append(targets, target{
			what: fmt.Sprintf("the same, containerConcurrency %d", limit.n), bound: 1.0 / 6, by: "knative",
			cases: e.byConnections(free, ours, theirs, cpuOfRecord, limit.connections...),
		})
	}
	ratio := func(what string) []measured {
		return single(e.figureRatio("knative", asQueueProxyName, what, queueProxyName, what))
	}
	return append(targets,
		target{what: "calls of gRPC: CPU ÷ queue-proxy", bound: 1.0 / 6, by: "knative", cases: e.byConnections(grpc, asQueueProxyName, queueProxyName, cpuOfRecord, 1, 10, 100), peers: e.inPlace(cell{experiment: "http2", protocol: "gRPC"}, []string{haproxyName, nginxName}, queueProxyName, cpuOfRecord, 1, 10, 100)},
		target{what: "RSS idle ÷ queue-proxy", bound: 0.5, by: "knative", cases: ratio(idleMB)},
		target{what: "RSS with 10000 idle connections ÷ queue-proxy", bound: 0.25, by: "knative", cases: ratio(crowdMB)},
		target{what: "exec to first answered probe ÷ queue-proxy", bound: 1, by: "knative", cases: ratio(firstAnswerMS)},
	)
}

func (e evidence) openfaasTargets() []target {
	fig8 := cell{experiment: "fig8"}
	var zygote, streamed []measured
	for _, n := range []int{1, 8} {
		c := cell{experiment: "modes", connections: n, body: modesBody}
		value, ok := e.ratio(c, "handler, zygote", "handler, of-watchdog serializing", rateOfRecord)
		zygote = append(zygote, measured{strconv.Itoa(n), value, ok})
		value, ok = e.ratio(c, "cat, exec", "cat, of-watchdog serializing", rateOfRecord)
		streamed = append(streamed, measured{strconv.Itoa(n), value, ok})
	}
	return []target{
		e.compared(target{what: "http mode: CPU ÷ of-watchdog; every request is a line of the log of both", bound: 0.2, by: "fig8"}, fig8, asWatchdogName, lesser(), fwatchdogName, cpuOfRecord, 1, 10, 100),
		{what: "serializing, Python handler: throughput of a zygote ÷ of-watchdog", bound: 8, least: true, by: "modes", cases: zygote},
		{what: "serializing, cat: throughput ÷ of-watchdog", bound: 1.25, least: true, by: "modes", cases: streamed},
	}
}

func (e evidence) nuclioTargets() []target {
	cases := func(body, connections int) (all []measured) {
		for _, n := range []int{1, 2, 4} {
			ours, theirs := fmt.Sprintf("%s, %d workers", asProcessorName, n), fmt.Sprintf("%s, %d workers", nuclioName, n)
			value, ok := e.ratio(cell{experiment: "nuclio", connections: connections, body: body}, ours, theirs, rateOfRecord)
			all = append(all, measured{strconv.Itoa(n), value, ok})
		}
		return all
	}
	return []target{
		{what: "hello, 8 connections: throughput ÷ Nuclio, by workers", bound: 5, least: true, by: "nuclio", cases: cases(0, 8)},
		{what: "hello, 1 connection: throughput ÷ Nuclio, by workers", bound: 5, least: true, by: "nuclio", cases: cases(0, 1)},
		{what: "1 MB there and back, 8 connections: throughput ÷ Nuclio, by workers", bound: 50, least: true, by: "nuclio", cases: cases(1<<20, 8)},
	}
}

func (e evidence) workerTargets() []target {
	trips := func(language string, sizes ...int) (all []measured) {
		for _, size := range sizes {
			us := fmt.Sprint(tripUS, " ", size)
			value, ok := e.figureRatio("trips", language, us, bareName(language), us)
			all = append(all, measured{sizeName(size), value, ok})
		}
		return all
	}
	var others []measured
	for _, language := range []string{"Ruby", "PHP", "Perl", "Java"} {
		m := trips(language, 1<<10)[0]
		others = append(others, measured{language, m.value, m.ok})
	}
	return []target{
		{what: "Python: round trip ÷ bare loop", bound: 1.25, by: "trips", cases: trips("Python", 0, 1<<10)},
		{what: "Python: large bodies ÷ bare loop", bound: 0.5, by: "trips", cases: trips("Python", 100<<10, 1<<20)},
		{what: "Node: round trip ÷ bare loop", bound: 2, by: "trips", cases: trips("Node", 0, 1<<10)},
		{what: "others, 1 KB: round trip ÷ bare loop", bound: 1.6, by: "trips", cases: others},
		{
			what: "two Python workers: requests/s ÷ the same front before the small server", bound: 0.55, least: true, by: "workers",
			cases: e.byConnections(cell{experiment: "workers"}, "Python, 2", fnpodName, rateOfRecord, 8, 64),
		},
		{
			what: "64 handlers that wait 10 ms: throughput of one async worker ÷ 64 workers", bound: 0.85, least: true, by: "waiting",
			cases: single(e.ratio(cell{experiment: "waiting", connections: 64}, oneAsyncName, manyName, rateOfRecord)),
		},
		{
			what: "the same: RSS", bound: 0.1, by: "waiting",
			cases: single(e.ratio(cell{experiment: "waiting", connections: 64}, oneAsyncName, manyName, rssOfRecord)),
		},
		{
			what: "exec to READY ÷ `python3 -I -S -c pass`: fnpod serve to its first answer", bound: 1.3, by: "coldstart",
			cases: single(e.figureRatio("coldstart", "fnpod serve, Python", firstAnswerMS, "to the end of python3 -I -S -c pass", firstAnswerMS)),
		},
		{what: "Python: processor time to READY ÷ `python3 -S -c pass`", bound: 1.3, by: "trips", cases: single(e.figureRatio("trips", "Python", startCPU, bareName("Python"), startCPU)), peers: []peerCases{{"`python3 -c pass`", single(e.figureRatio("trips", packagedPython, startCPU, bareName("Python"), startCPU))}}},
		{what: "Node: processor time to READY ÷ `node -e 0`", bound: 1.3, by: "trips", cases: single(e.figureRatio("trips", "Node", startCPU, bareName("Node"), startCPU))},
	}
}

func (e evidence) processTargets() []target {
	rate := func(variant, reference string) (all []measured) {
		for _, n := range []int{1, 8} {
			value, ok := e.ratio(cell{experiment: "modes", connections: n, body: modesBody}, variant, reference, rateOfRecord)
			all = append(all, measured{strconv.Itoa(n), value, ok})
		}
		return all
	}
	slow := cell{experiment: "modes", connections: 1, body: modesBody, rate: 5}
	return []target{
		{what: "`cat`: throughput ÷ os/exec, by connections", bound: 1.25, least: true, by: "modes", cases: rate("cat, exec", "cat, "+osExec)},
		{what: "Python handler: throughput of a zygote ÷ os/exec", bound: 8, least: true, by: "modes", cases: rate("handler, zygote", "handler, "+osExec)},
		{what: "Python handler: p50 of a zygote ÷ exec, 1 connection", bound: 0.1, by: "modes", cases: single(e.ratio(cell{experiment: "modes", connections: 1, body: modesBody}, "handler, zygote", "handler, exec", p50OfRecord))},
		{what: "warm worker ÷ os/exec, Python handler", bound: 100, least: true, by: "modes", cases: rate("handler, warm workers", "handler, "+osExec)},
		{what: "5 requests/s: p50 of standby ÷ exec, Python handler", bound: 0.4, by: "modes", cases: single(e.ratio(slow, "handler, standby", "handler, exec", p50OfRecord))},
		{what: "5 requests/s: p50 of standby ÷ exec, Node", bound: 0.25, by: "modes", cases: single(e.ratio(slow, "node, standby", "node, exec", p50OfRecord))},
	}
}

func (e evidence) overloadTargets() (all []target) {
	for _, kind := range []string{kindOf(false), kindOf(true)} {
		t := target{what: kind + " service times, adaptive, by load", bound: 95, least: true, by: "overload"}
		for _, load := range []float64{1.2, 2, 5} {
			value, ok := e.figure("overload", "adaptive, "+kind, fmt.Sprintf("%s %g, %%", inTime, load))
			t.cases = append(t.cases, measured{fmt.Sprint(load), value, ok})
		}
		all = append(all, t)
	}
	return all
}

func (e evidence) footprintTargets() []target {
	calls := func(what string, connections ...int) (all []measured) {
		for _, n := range connections {
			value, ok := e.figure("syscalls", fnpodName, fmt.Sprintf("%s, %d connections", what, n))
			all = append(all, measured{strconv.Itoa(n), math.Round(10*value) / 10, ok}) // now and then there is one for a signal
		}
		return all
	}
	return []target{
		{what: "binary, static and stripped", bound: 16, unit: "MB", by: "memory", cases: single(e.figure("memory", fnpodName, binaryMB))},
		{what: "RSS idle", bound: 12, unit: "MB", by: "memory", cases: single(e.figure("memory", fnpodName, idleMB))},
		{what: "an idle connection", bound: 6144, unit: "bytes", by: "memory", cases: single(e.figure("memory", fnpodName, bytesEach))},
		{what: "the same, for an event loop", bound: 1024, unit: "bytes", by: "memory", cases: single(e.figure("memory", fnpodName, bytesEach))},
		{what: "CPU with 10000 idle connections", bound: 1, unit: "ms/s", by: "memory", cases: single(e.figure("memory", fnpodName, idleCPU))},
		{what: "fnpod proxy: exec to first answer", bound: 10, unit: "ms", by: "coldstart", cases: single(e.figure("coldstart", fnpodName, firstAnswerMS))},
		{what: "system calls per request besides waiting, by connections, to a tenth", bound: 5, by: "syscalls", cases: calls(callsBusy, 1, 10, 100)},
		{what: "system calls per request, all, to a tenth", bound: 5, by: "syscalls", cases: calls(callsAll, 10, 100)},
		{what: "allocations per request", bound: 0, by: "go test -run Allocat ./..."},
	}
}
