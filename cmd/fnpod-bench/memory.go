package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// memoryCmd measures what a proxy needs before it has work, and for connections that have none.
type memoryCmd struct {
	recording `embed:""`
	peers     `embed:""`

	Rounds      int `default:"3" help:"Measurements; the report has medians."`
	Connections int `default:"10000" help:"Idle connections."`
}

// What memory measures.
const (
	idleMB      = "RSS MB after one request"
	anonymousMB = "of it anonymous"
	crowdMB     = "RSS MB, idle connections"
	bytesEach   = "bytes for each"
	idleCPU     = "idle CPU, ms/s"
	binaryMB    = "binary, MB"
)

// Run implements the command.
func (c *memoryCmd) Run(ctx context.Context, out io.Writer) error {
	if err := raiseDescriptors(c.Connections + fewConnections + 100); err != nil {
		return err
	}
	variants, err := c.chosen(&c.recording, c.proxies()[1:]) // the bare function has no connections but those of the load
	if err != nil {
		return err
	}
	binary, err := os.Stat(c.Fnpod)
	if err != nil {
		return err
	}
	describeMachine(ctx, out)
	fmt.Fprintf(out, "Binary of fnpod: %s MB. Median of %d.\n\n", format(float64(binary.Size())/(1<<20)), c.Rounds)
	c.note(fnpodName, binaryMB, float64(binary.Size())/(1<<20))
	for range c.Rounds {
		for _, v := range variants {
			if err := c.memory(ctx, v, c.Connections); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(out, "%s\n", c.memoryTable(variants, c.Connections))
	c.describeAbsent(out)
	return c.write(ctx, nil, false)
}

// memoryTable has a row for each variant.
func (c *recording) memoryTable(variants []variant, connections int) string {
	rows := [][]string{{"", idleMB, anonymousMB, fmt.Sprintf("RSS MB, %d idle connections", connections), bytesEach, idleCPU}}
	for _, v := range variants {
		row := []string{v.name}
		for _, what := range []string{idleMB, anonymousMB, crowdMB, bytesEach, idleCPU} {
			row = append(row, c.cell(v.name, what))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

// memory notes what a variant needs once.
func (c *recording) memory(ctx context.Context, v variant, connections int) error {
	if c.leftOut(v) {
		return nil
	}
	u, err := c.idle(ctx, v, connections)
	if err != nil {
		if c.without(ctx, v, v.name, err) {
			return nil
		}
		return fmt.Errorf("%s: %w", v.name, err)
	}
	const mb = 1 << 20
	c.note(v.name, idleMB, float64(u.idle.rss)/mb)
	c.note(v.name, anonymousMB, float64(u.idle.anonymous)/mb)
	c.note(v.name, crowdMB, float64(u.crowd.rss)/mb)
	c.note(v.name, bytesEach, float64(u.crowd.rss-u.few.rss)/float64(connections))
	c.note(v.name, idleCPU, float64(u.later.cpu()-u.crowd.cpu())/float64(time.Millisecond)/idleTime.Seconds())
	return nil
}

// What a variant has a while after its first request is what it needs idle. The first few connections bring pages of
// the binary back and are not counted. Idle connections are looked at for four seconds: what a pod does every second or two counts.
const (
	settleTime     = 2500 * time.Millisecond
	fewConnections = 100
	idleTime       = 4 * time.Second
)

// idleUsage is what a variant used.
type idleUsage struct {
	idle  usage // it had one request
	few   usage // it has few connections, and each had one
	crowd usage // it has all
	later usage // nothing has happened for idleTime
}

func (c *recording) idle(ctx context.Context, v variant, connections int) (u idleUsage, err error) {
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return u, err
	}
	defer func() { err = r.stop(err) }()
	time.Sleep(settleTime)
	if u.idle, err = r.target.usage(); err != nil {
		return u, err
	}
	few, err := dialOnce(ctx, r.address, fewConnections)
	if err != nil {
		return u, err
	}
	defer few.close()
	if u.few, err = r.target.usage(); err != nil {
		return u, err
	}
	crowd, err := dialOnce(ctx, r.address, connections)
	if err != nil {
		return u, err
	}
	defer crowd.close()
	if u.crowd, err = r.target.usage(); err != nil {
		return u, err
	}
	time.Sleep(idleTime)
	u.later, err = r.target.usage()
	return u, err
}

// dialOnce opens connections and sends a request on each.
func dialOnce(ctx context.Context, address string, connections int) (*load, error) {
	l, err := dial(address, connections)
	if err != nil {
		return nil, err
	}
	if err = l.once(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// raiseDescriptors makes sure that this process and those that it starts may have n descriptors. The Go runtime has
// raised the soft limit to the hard one already, but gives its children what it found.
func raiseDescriptors(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	if limit.Max < uint64(n) {
		return fmt.Errorf("descriptor limit %d: %d are needed", limit.Max, n)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	return nil
}
