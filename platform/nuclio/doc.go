// Package nuclio makes fnpod a drop-in replacement for Nuclio's processor: the same files of settings, ports, status
// codes, fields, series and log lines, over the same core as every other platform.
//
//	config.go      processor.yaml and platform.yaml as they are written
//	secret.go      values that the controller keeps elsewhere
//	settings.go    what they mean, checked
//	attributes.go  the loosely typed part of a trigger
//	brokers.go     where messages come from
//	cors.go        who may ask from which page
//	routes.go      what is answered before a worker is asked for
//	exchange.go    the answer of a worker as clients know it: types, canonical names, files
//	status.go      how failures are answered
//	statistics.go  what is counted of each trigger, and the series made of it
//	push.go        series for a Pushgateway
//	event.go       requests that no client sent: cron, kickstart, and messages of brokers
//	schedule.go    when the clock is due
//	batch.go       events that a worker gets as one
//	shell.go       a process per event
//	external.go    wrappers of Nuclio's own: the pool
//	wrapped.go     one of them, and an event on its way through it
//	control.go     its second socket
//	wire.go        what both sides say, as bytes
//	log.go         lines as people grep them
//	admin.go       the ports 8081 and 8082
package nuclio
