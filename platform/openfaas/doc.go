// Package openfaas makes fnpod a drop-in replacement for of-watchdog and the classic watchdog: the same
// environment, routes, status codes, fields, series and log lines, over the same core as
// every other platform.
//
//	settings.go  what the environment says, by OpenFaaS' rules of reading it
//	routes.go    /_/health and /_/ready, and the lock file that health checks look at
//	answer.go    statuses and fields as clients and the queue-worker know them
//	static.go    files instead of a function
//	fork.go      a process per request, and what its failures tell the client
//	variables.go what it finds in its environment
//	classic.go   what the classic watchdog does otherwise
//	jwt.go       who may call the function
//	jwks.go      the keys of those who say so
//	metrics.go   the series that dashboards and autoscalers read
//	log.go       lines as people grep them
package openfaas
