package main

import (
	"fmt"
	"reflect"

	"github.com/fnpod/fnpod/watchdog"
)

// setLauncher takes over how processes come to be from our own variables, if FNPOD_LAUNCHER is there: the originals
// start each for its request.
func (e environment) setLauncher(c *watchdog.ForkConfig, inv *invocation) error {
	if _, ok := e.lookup(variableOf("launcher")); !ok {
		return nil
	}
	p, err := newParser("fnpod", description, defaults(), e, inv.stdout)
	if err != nil {
		return err
	}
	ctx, err := p.parse([]string{"run", "--mode", "serializing", "--", c.Path})
	if err != nil {
		return err
	}
	command, ok := reflect.TypeAssert[*runCmd](ctx.Selected().Target.Addr())
	if !ok {
		return fmt.Errorf("command %s is not run", ctx.Selected().Name)
	}
	ours := command.Fork.config()
	c.Launcher, c.Standby, c.StandbyIdle, c.Preload = ours.Launcher, ours.Standby, ours.StandbyIdle, ours.Preload
	return nil
}
