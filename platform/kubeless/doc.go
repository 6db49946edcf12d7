// Package kubeless makes fnpod a drop-in replacement for the servers in Kubeless' runtime images: the same environment, routes,
// status codes, series and log lines, over the same core as every other platform.
//
//	settings.go  what the environment says, checked
//	reader.go    how it is read
//	routes.go    what is answered before the function is asked: /healthz, /metrics, preflights, methods, sizes
//	call.go      a call whose process is its own: the request on its way in, the answer on its way out
//	status.go    how failures are answered
//	metrics.go   the series that dashboards, autoscalers and `kubeless function top` read
//	log.go       a line per request
package kubeless
