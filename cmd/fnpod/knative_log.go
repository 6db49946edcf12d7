package main

import (
	"log/slog"

	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
)

// logger returns the log as the controller wants it, unless our own variables say how.
func (c *knativeCmd) logger(inv *invocation) *slog.Logger {
	for _, name := range []string{"FNPOD_LOG_LEVEL", "FNPOD_LOG_FORMAT"} {
		if _, ok := inv.env.lookup(name); ok {
			return inv.logger(c.proxy.Front.Log)
		}
	}
	l := c.settings.Log()
	out := inv.stderr
	if l.Stdout {
		out = inv.output()
	}
	log := inv.loggerOf(l.Handler(out, c.settings))
	if l.Stdout {
		inv.lines(log)
	}
	if l.Warning != "" {
		log.Warn("the log is not as it was asked for", "reason", l.Warning)
	}
	return log
}

// ended returns what is done when a request has ended: it is counted, and logged if the controller wants that.
func (c *knativeCmd) ended(figures *knativeFigures, inv *invocation, log *slog.Logger) func(*proxy.Exchange, proxy.Outcome) {
	if !c.settings.Observability.RequestLog {
		return figures.ended
	}
	requests, err := knative.NewRequestLog(c.settings, inv.lines(log))
	if err != nil {
		log.Error("requests are not logged", "err", err)
		return figures.ended
	}
	return func(x *proxy.Exchange, o proxy.Outcome) {
		figures.ended(x, o)
		requests.Write(x, o)
	}
}
