package main

import "log/slog"

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
