package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// knativeCmd measures fnpod in the place of Knative's queue-proxy beside that: requests by connections and by the limit of
// a container's concurrency, calls of gRPC, memory, and the start. Samples of both follow each other.
type knativeCmd struct {
	sampling `embed:""`
	peers    `embed:""`

	Connections []int `default:"1,10,100,1000" help:"Connections of the load; no more than ten for each request that may run, of which others would be refused."`
	Concurrency []int `default:"0,1,10,100" help:"Limits of the container's concurrency; 0 for none."`
	Idle        int   `default:"10000" help:"Idle connections when memory is measured; 0 leaves memory out."`
	Starts      int   `default:"11" help:"Starts whose time is taken; 0 leaves them out."`
	GRPC        []int `name:"grpc" default:"1,10,100" help:"Connections of calls of gRPC."`
	Message     int   `default:"100" help:"Bytes of a message of gRPC, there and back."`
}

// Run implements the command.
func (c *knativeCmd) Run(ctx context.Context, out io.Writer) error {
	if err := raiseDescriptors(c.Idle + fewConnections + 100); err != nil {
		return err
	}
	both, err := c.chosen(&c.recording, c.knativeVariants(0))
	if err != nil {
		return err
	}
	var all samples
	for _, limit := range c.Concurrency {
		samples, err := c.limited(ctx, out, limit)
		if err != nil {
			return err
		}
		all = append(all, samples...)
	}
	samples, err := c.unary(ctx, out, both)
	if err != nil {
		return err
	}
	all = append(all, samples...)
	if err := c.footprint(ctx, out, both); err != nil {
		return err
	}
	c.describe(ctx, out, all)
	return c.write(ctx, all)
}

// knativeVariants are fnpod and the original, with a limit.
func (c *knativeCmd) knativeVariants(limit int) []variant {
	all := []variant{
		{name: asQueueProxyName, start: asQueueProxy(limit)},
		c.queueProxy(limit),
	}
	for i := range all {
		if limit > 0 {
			all[i].name = fmt.Sprintf("%s, limit %d", all[i].name, limit)
		}
	}
	return all
}

// limited compares with one limit.
func (c *knativeCmd) limited(ctx context.Context, out io.Writer, limit int) (samples, error) {
	var silent recording // who is missing was told already
	variants, err := c.chosen(&silent, c.knativeVariants(limit))
	if err != nil {
		return nil, err
	}
	connections := slices.DeleteFunc(slices.Clone(c.Connections), func(n int) bool { return limit > 0 && n > 10*limit })
	all, err := c.compare(ctx, variants, connections)
	if err != nil {
		return nil, err
	}
	name := "no limit"
	if limit > 0 {
		name = fmt.Sprintf("%d requests at once", limit)
	}
	fmt.Fprintf(out, "**%s**\n\n%s\n", name, knativeTable(variants, all, connections))
	return all, nil
}

// knativeTable has a row for each number of connections and each variant; ratios are to the last variant.
func knativeTable(variants []variant, all samples, connections []int) string {
	last := variants[len(variants)-1].name
	rows := [][]string{{"connections", "variant", "CPU µs/request", "× queue-proxy", "requests/s", "p50 µs", "p99 µs", "p50 × queue-proxy", "p99 ×", "RSS MB"}}
	for _, n := range connections {
		for _, v := range variants {
			of := func(f figure) string { return all.cell(v.name, n, f) }
			to := func(f figure) string {
				if len(variants) == 1 {
					return "–"
				}
				return formatRatio(all.ratio(v.name, last, n, f))
			}
			rows = append(rows, []string{strconv.Itoa(n), v.name, of(cpuPerRequest), to(cpuPerRequest), of(rate), of(p50), of(p99), to(p50), to(p99), of(rssMB)})
		}
	}
	return table(rows)
}

// unary compares calls of gRPC.
func (c *knativeCmd) unary(ctx context.Context, out io.Writer, variants []variant) (samples, error) {
	c.call, c.streams = unaryCall(c.Message), 1
	defer func() { c.call = nil }()
	variants = slices.Clone(variants)
	for i := range variants {
		variants[i].call = c.call
	}
	all, err := c.compare(ctx, variants, c.GRPC)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "**calls of gRPC, %d bytes there and back**\n\n%s\n", c.Message, knativeTable(variants, all, c.GRPC))
	return all, nil
}

// footprint measures memory and the start, by turns.
func (c *knativeCmd) footprint(ctx context.Context, out io.Writer, variants []variant) error {
	for round := range max(c.Rounds, c.Starts) {
		for _, v := range variants {
			if round < c.Rounds && c.Idle > 0 {
				if err := c.memory(ctx, v, c.Idle); err != nil {
					return err
				}
			}
			if round < c.Starts {
				v.asks = askProbe
				if err := c.take(ctx, v, c.firstAnswer); err != nil {
					return err
				}
			}
		}
	}
	if c.Idle > 0 {
		fmt.Fprintf(out, "**memory**\n\n%s\n", c.memoryTable(variants, c.Idle))
	}
	if c.Starts == 0 {
		return nil
	}
	rows := [][]string{{"", "exec to first answered probe, ms", "slowest"}}
	for _, v := range variants {
		rows = append(rows, []string{v.name, c.cell(v.name, firstAnswerMS), c.worst(v.name, firstAnswerMS)})
	}
	fmt.Fprintf(out, "**start**, the median of %d, with a function that is there already\n\n%s\n", c.Starts, table(rows))
	return nil
}

// askProbe asks as the kubelet does whether a queue-proxy and its function are ready.
func askProbe(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("K-Network-Probe", "queue")
	r.Header.Set("User-Agent", "kube-probe/1.30")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{}).DialContext,
	}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && string(text) != "queue" {
		err = fmt.Errorf("probe: %s, %.100q", answer.Status, text)
	}
	return err
}
