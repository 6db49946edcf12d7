package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// http2Cmd measures clients that speak HTTP/2 without TLS: requests without a body, and calls of gRPC.
type http2Cmd struct {
	sampling `embed:""`
	peers    `embed:""`

	Connections []int    `default:"1,10,100" help:"Connections of the load."`
	Streams     []int    `default:"1,10" help:"Streams at once on each connection; more than 1 with the fewest connections alone."`
	Calls       []string `default:"h2c,gRPC" enum:"h2c,gRPC" help:"What is asked: h2c, gRPC, or both."`
	Message     int      `default:"100" help:"Bytes of a message of gRPC, there and back."`
}

// Run implements the command.
func (c *http2Cmd) Run(ctx context.Context, out io.Writer) error {
	var all samples
	for _, name := range c.Calls {
		c.call = getCall()
		if name != c.call.name {
			c.call = unaryCall(c.Message)
		}
		variants, err := c.chosen(&c.recording, c.http2Proxies(c.call))
		if err != nil {
			return err
		}
		for _, streams := range c.Streams {
			c.streams = streams
			connections := c.Connections
			if streams > 1 {
				connections = connections[:1]
			}
			samples, err := c.compare(ctx, variants, connections)
			if err != nil {
				return err
			}
			for _, n := range connections {
				fmt.Fprintf(out, "**%s, %d connections, %d streams on each**\n\n%s\n", name, n, streams, http2Table(variants, samples, n, nginxName))
			}
			all = append(all, samples...)
		}
	}
	c.describe(ctx, out, all)
	return c.write(ctx, all)
}

// http2Table has a row for each variant, beside a reference.
func http2Table(variants []variant, all samples, n int, reference string) string {
	rows := [][]string{{"variant", "CPU µs/request", "× " + reference, "requests/s", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "RSS MB"}}
	for _, v := range variants {
		of := func(f figure) string { return all.cell(v.name, n, f) }
		cpu, ratio := of(cpuPerRequest), formatRatio(all.ratio(v.name, reference, n, cpuPerRequest))
		if v.name == directName {
			cpu, ratio = "–", "–"
		}
		rows = append(rows, []string{v.name, cpu, ratio, of(rate), of(p50), of(latencyAt(90)), of(p99), of(latencyAt(99.9)), of(rssMB)})
	}
	return table(rows)
}

// http2Proxies are the variants that a client can speak HTTP/2 with.
func (p *peers) http2Proxies(what *call) []variant {
	all := []variant{
		direct, fnpodTCP,
		{name: asQueueProxyName, start: asQueueProxy(0)},
		{name: nginxName, peer: true, start: func(ctx context.Context, s *site) (*process, error) {
			return startNginxText(ctx, s, nginxHTTP2Config(what))
		}},
		{name: haproxyName, peer: true, start: func(ctx context.Context, s *site) (*process, error) {
			return startHAProxyText(ctx, s, haproxyHTTP2Config)
		}},
		p.queueProxy(0),
	}
	if p.Before != "" {
		all = append(all, another(p.Before))
	}
	for i := range all {
		all[i].call = what
	}
	return all
}

// nginxHTTP2Config is nginx as it is for HTTP/1.1, with clients that speak HTTP/2; functions do only where it is gRPC.
func nginxHTTP2Config(what *call) string {
	text := strings.Replace(nginxConfig, "listen LISTEN;", "listen LISTEN http2;", 1)
	if what.trailer {
		before, _, _ := strings.Cut(text, "proxy_pass http://function;")
		return before + "grpc_pass grpc://function;\n    }\n  }\n}\n"
	}
	return text
}

// haproxyHTTP2Config is HAProxy with HTTP/2 on both sides.
var haproxyHTTP2Config = strings.NewReplacer("bind LISTEN", "bind LISTEN proto h2", "FUNCTION", "FUNCTION proto h2").Replace(haproxyConfig)
