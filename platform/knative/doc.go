// Package knative makes fnpod a drop-in replacement for the queue-proxy of Knative Serving: the same environment, ports,
// probes, texts and order of shutting down, over the same core as every other platform.
//
//	settings.go       what the environment says
//	tls.go            how the port with TLS is served
//	observability.go  the part of it that is about metrics, traces and logs, of today's and of older controllers
//	probe.go          what the function's probes are
//	prober.go         when they run, and for whom
//	attempt.go        one look: TCP, HTTP, gRPC
//	routes.go         who asks: control probes, which are answered here, and requests
//	ready.go          the answer to who asks for readiness
//	drain.go          when nobody comes any more, and who waits for that
//	stat.go           what the autoscaler reads: requests at once and per second, every second
//	log.go            the lines of our own log
//	measured.go       what is known of a request that has ended
//	tags.go           names of routes, as far as they are told apart
//	usermetrics.go    what people read about requests, by the names of today
//	oldermetrics.go   the same by the names of controllers up to 1.18
//	requestlog.go     a line for each request, by the operator's template
//	trace.go          which requests have spans, and what the user container is told
//	span.go           spans, and how they look on the wire
//	exporter.go       how they come to a collector
//	zipkin.go         the same for controllers up to 1.18
//	push.go           how series come there
//	otlp.go           the collector, and messages for it
//	profile.go        profiles of ourselves
//	answer.go         statuses and fields as clients and the activator know them
//	forwarded.go      who the client is, told to the function
package knative
