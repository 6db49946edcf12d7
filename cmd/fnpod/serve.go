package main

import (
	"context"
	"errors"
)

var errNotWired = errors.New("this command is not wired yet")

// Run serves the handler until ctx ends.
func (c *serveCmd) Run(_ context.Context, inv *invocation) error {
	inv.logger(c.Front.Log)
	return errNotWired
}

// Run starts the command and serves it until ctx ends.
func (c *runCmd) Run(_ context.Context, inv *invocation) error {
	inv.logger(c.Front.Log)
	return errNotWired
}

// Run serves the upstream until ctx ends.
func (c *proxyCmd) Run(_ context.Context, inv *invocation) error {
	inv.logger(c.Front.Log)
	return errNotWired
}
