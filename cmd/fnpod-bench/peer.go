package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// peers are other programs that stand before a function.
type peers struct {
	Only       string `placeholder:"REGEXP" help:"Measure only the variants whose name matches."`
	Before     string `placeholder:"BINARY" help:"Another build of fnpod, measured beside."`
	QueueProxy string `name:"queue-proxy" placeholder:"BINARY" help:"Knative's queue-proxy, measured beside; found on PATH, too."`
	Fwatchdog  string `placeholder:"BINARY" help:"OpenFaaS' of-watchdog in http mode, measured beside; found on PATH, too."`
}

// Names of peers.
const (
	haproxyName      = "HAProxy"
	reverseProxyName = "Go ReverseProxy"
	queueProxyName   = "queue-proxy"
	fwatchdogName    = "of-watchdog"
	asQueueProxyName = "fnpod as queue-proxy"
	asWatchdogName   = "fnpod as of-watchdog"
)

// proxies are all variants that pass a request on to the small server, as far as they are here.
func (p *peers) proxies() []variant {
	all := []variant{
		direct, fnpodTCP, fnpodUnix,
		{name: asWatchdogName, start: startAsWatchdog},
		{name: asQueueProxyName, start: asQueueProxy(0)},
		nginxBare, nginxSame,
		{name: haproxyName, peer: true, start: func(ctx context.Context, s *site) (*process, error) {
			return startHAProxyText(ctx, s, haproxyConfig)
		}},
		{name: reverseProxyName, peer: true, start: startReverseProxy},
	}
	if p.Before != "" {
		all = append(all, another(p.Before))
	}
	return append(all,
		original(fwatchdogName, p.Fwatchdog, "fwatchdog", func(ctx context.Context, s *site, binary string) (*process, error) {
			return startAbrupt(ctx, watchdogEnv(s), binary)
		}),
		p.queueProxy(0))
}

// limited are those that let n requests run at once and the others wait.
func (p *peers) limited(n int) []variant {
	limit := strconv.Itoa(n)
	return []variant{
		{name: fnpodName, start: func(ctx context.Context, s *site) (*process, error) {
			return startPod(ctx, s, "proxy", "http://"+s.function.tcp, "--queue-limit", limit, "--queue-depth", "12000", "--queue-discipline", "fifo")
		}},
		{name: haproxyName, peer: true, start: func(ctx context.Context, s *site) (*process, error) {
			return startHAProxyText(ctx, s, strings.Replace(haproxyConfig, "server function FUNCTION", "server function FUNCTION maxconn "+limit, 1))
		}},
		{name: asQueueProxyName, start: asQueueProxy(n)},
		p.queueProxy(n),
	}
}

// original is a program whose place fnpod takes: binary, or else what PATH has by the name of its flag.
func original(name, binary, flag string, start func(ctx context.Context, s *site, binary string) (*process, error)) variant {
	v := variant{name: name, peer: true}
	if binary == "" {
		binary, _ = exec.LookPath(flag) // what is nowhere is not measured
	}
	if binary == "" {
		v.lacks = "not on PATH, and --" + flag + " is not given"
	}
	v.start = func(ctx context.Context, s *site) (*process, error) { return start(ctx, s, binary) }
	return v
}

// watchdogEnv makes of-watchdog a proxy before the small server: its own process has nothing to do.
func watchdogEnv(s *site) []string {
	_, port, _ := net.SplitHostPort(s.listen)
	return []string{
		"mode=http", "upstream_url=http://" + s.function.tcp, "fprocess=sleep 1000000", "port=" + port,
		"suppress_lock=true", "healthcheck_interval=1ms", "prefix_logs=false",
	}
}

func startAsWatchdog(ctx context.Context, s *site) (*process, error) {
	return start(ctx, append(watchdogEnv(s), "FNPOD_PLATFORM=openfaas", "FNPOD_CONNECTIONS=12000", "metrics_port=0"), s.fnpod)
}

// queueProxy is Knative's.
func (p *peers) queueProxy(concurrency int) variant {
	return original(queueProxyName, p.QueueProxy, "queue-proxy", func(ctx context.Context, s *site, binary string) (*process, error) {
		return startQueueProxy(ctx, s, binary, concurrency)
	})
}

// asQueueProxy starts fnpod in its place.
func asQueueProxy(concurrency int) func(ctx context.Context, s *site) (*process, error) {
	return func(ctx context.Context, s *site) (*process, error) {
		return startQueueProxy(ctx, s, s.fnpod, concurrency)
	}
}

// queueProxyEnv is what Knative's controller gives a queue-proxy; concurrency is the number of requests that run at once,
// 0 for any.
func queueProxyEnv(s *site, concurrency int) []string {
	_, port, _ := net.SplitHostPort(s.listen)
	_, user, _ := net.SplitHostPort(s.function.tcp)
	return []string{
		"CONTAINER_CONCURRENCY=" + strconv.Itoa(concurrency), "QUEUE_SERVING_PORT=" + port, "QUEUE_SERVING_TLS_PORT=8112", "USER_PORT=" + user,
		"REVISION_TIMEOUT_SECONDS=300", "SERVING_NAMESPACE=bench", "SERVING_SERVICE=bench", "SERVING_CONFIGURATION=bench",
		"SERVING_REVISION=bench-00001", "SERVING_POD=bench", "SERVING_POD_IP=127.0.0.1", "SERVING_LOGGING_CONFIG=",
		"SERVING_LOGGING_LEVEL=warn", `SERVING_READINESS_PROBE={"tcpSocket":{"port":` + user + `,"host":"127.0.0.1"},"successThreshold":1}`,
	}
}

// startQueueProxy starts one that ends at once: the drain of a real one takes half a minute. A real one has ports that
// nobody else may use meanwhile.
func startQueueProxy(ctx context.Context, s *site, binary string, concurrency int) (*process, error) {
	env := append(queueProxyEnv(s, concurrency), "FNPOD_PLATFORM=knative", "FNPOD_CONNECTIONS=12000")
	for _, name := range []string{"ADMIN", "AUTOSCALER", "METRICS"} {
		address, err := freeAddress(ctx)
		if err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(address)
		env = append(env, "FNPOD_KNATIVE_"+name+"_PORT="+port)
	}
	return startAbrupt(ctx, env, binary)
}

// haproxyConfig is HAProxy with one thread, and connections to the function that stay open.
const haproxyConfig = `global
  nbthread 1
  no strict-limits
  maxconn 12000
  log stderr local0 err
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  http-reuse always
frontend front
  bind LISTEN
  default_backend function
backend function
  server function FUNCTION
`

func startHAProxyText(ctx context.Context, s *site, text string) (*process, error) {
	config := filepath.Join(s.dir, "haproxy.cfg")
	text = strings.NewReplacer("LISTEN", s.listen, "FUNCTION", s.function.tcp).Replace(text)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, nil, "haproxy", "-db", "-f", config)
}

// reverseProxyCmd is the proxy of Go's standard library, as a program of its own.
type reverseProxyCmd struct {
	Listen   string `help:"Address to listen on."`
	Function string `help:"Address of the function."`
}

// Run serves until standard input ends.
func (c *reverseProxyCmd) Run() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", c.Listen)
	if err != nil {
		return err
	}
	to := &url.URL{Scheme: "http", Host: c.Function}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024},
	}
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, proxy) }() //nolint:gosec // the load is ours
	return untilParentEnds(failed)
}

func startReverseProxy(ctx context.Context, s *site) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, []string{childVariable + "=1"}, self, "reverse-proxy", "--listen", s.listen, "--function", s.function.tcp)
}
