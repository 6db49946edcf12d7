package proxy_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// Names of series that the tests look at.
const (
	nameRejected = "fnpod_rejected_total"
	nameFaults   = "fnpod_upstream_errors_total"
	nameRetries  = "fnpod_upstream_retries_total"
	namePanics   = "fnpod_panics_total"
)

// patience ends tests that hang. Nothing is asserted about how long things take.
const patience = 20 * time.Second

// setup is what a test may change before its pod starts.
type setup struct {
	proxy.Config
	Queue    queue.Config
	Backend  proxy.Backend
	Statuses []proxy.Status
	Classes  []proxy.ClassRule
	Fairness proxy.Fairness
	Hooks    proxy.Hooks
	Log      *slog.Logger
	Bare     bool   // all connections begin so, else half of the pods' do
	Network  string // "tcp", "tcp6", "unix" or "tls"
	Listener func(net.Listener) net.Listener
}

// pod is a Server that runs.
type pod struct {
	t       testing.TB
	network string
	address string
	queue   *queue.Queue
	server  *proxy.Server
	metrics *metrics.Set
	cancel  context.CancelFunc
	ended   chan error

	once sync.Once
	err  error
}

// newPod starts a server that is stopped, and checked for leaks, with the test.
func newPod(t testing.TB, b proxy.Backend, change ...func(*setup)) *pod {
	t.Helper()
	s := setup{Config: proxy.DefaultConfig(), Queue: queue.Config{Depth: 100}, Backend: b, Log: slog.New(slog.DiscardHandler), Network: "tcp"}
	s.DrainDelay, s.DrainTimeout = 0, patience
	for _, f := range change {
		f(&s)
	}
	p := &pod{t: t, network: s.Network, queue: queue.New(s.Queue), metrics: metrics.New(2), ended: make(chan error, 1)}
	server, err := proxy.New(proxy.Parts{
		Config: s.Config, Queue: p.queue, Backend: s.Backend, Metrics: p.metrics, Log: s.Log, Nonce: "t", Statuses: s.Statuses,
		Classes: s.Classes, Fairness: s.Fairness, Hooks: s.Hooks,
	})
	require.NoError(t, err)
	p.server = server
	ln := listen(t, s.Network)
	p.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	if s.Network == "tls" {
		ln = proxy.Secure{Listener: ln, Config: certificate()}
	}
	if socket, ok := ln.(socketListener); ok && !s.Bare && rand.IntN(2) == 0 {
		t.Log("connections have a goroutine from the beginning")
		ln = dressing{socket}
	}
	if s.Listener != nil {
		ln = s.Listener(ln)
	}
	go func() { p.ended <- server.Run(ctx, ln) }()
	t.Cleanup(func() {
		require.NoError(t, p.stop())
		p.requireQuiet()
	})
	return p
}

// dressing is a listener that hides its descriptor, so that no connection begins bare. Half of the pods have one.
type dressing struct{ socketListener }

type socketListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	switch network {
	case "tls":
		network = "tcp"
	case "unix":
		address = filepath.Join(t.TempDir(), "s")
	case "tcp6":
		address = "[::1]:0"
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), network, address)
	require.NoError(t, err)
	return ln
}

// stop drains and returns what Run returned.
func (p *pod) stop() error {
	p.cancel()
	p.once.Do(func() {
		select {
		case p.err = <-p.ended:
		case <-time.After(2 * patience):
			p.err = errors.New("the drain hangs:\n" + stacks())
		}
	})
	return p.err
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// requireQuiet checks that no slot is out and that the counters add up (P3, P12).
func (p *pod) requireQuiet() {
	p.t.Helper()
	st := p.queue.Stats()
	require.Zero(p.t, st.Executing, "slots")
	require.Zero(p.t, st.Queued, "waiters")
	r := p.metrics.Requests()
	require.Equal(p.t, r.Accepted, answered(r)+r.ClientGone+r.Aborted, "%+v", r)
}

func answered(r metrics.Requests) (total uint64) {
	for _, n := range r.Answered {
		total += n
	}
	return total
}

// eventually waits for what another goroutine or the kernel does.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

func (p *pod) waitQueue(executing, queued int) {
	p.t.Helper()
	eventually(p.t, func() bool {
		st := p.queue.Stats()
		return st.Executing == executing && st.Queued == queued
	}, "queue")
}

// count adds up a counter whose labels include the given value, if any.
func (p *pod) count(name string, label ...string) (total int) {
	p.t.Helper()
	families, err := p.metrics.Gather()
	require.NoError(p.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if labelled(m, label) {
				total += int(m.GetCounter().GetValue()) + int(m.GetGauge().GetValue()) + int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

func labelled(m *dto.Metric, values []string) bool {
	for _, v := range values {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetValue() == v
		}
		if !found {
			return false
		}
	}
	return true
}

// waitRejected waits until one request was turned away for a reason: counting
// happens after the answer is out.
func (p *pod) waitRejected(reason string) {
	p.t.Helper()
	eventually(p.t, func() bool { return p.count(nameRejected, reason) == 1 }, "rejected for "+reason)
}

func (p *pod) waitFault(reason string, n int) {
	p.t.Helper()
	eventually(p.t, func() bool { return p.count(nameFaults, reason) == n }, "upstream fault "+reason)
}

func (p *pod) waitGone() {
	p.t.Helper()
	eventually(p.t, func() bool { return int(p.metrics.Requests().ClientGone) == 1 }, "client gone")
}

func (p *pod) waitAborted(n int) {
	p.t.Helper()
	eventually(p.t, func() bool { return int(p.metrics.Requests().Aborted) == n }, "answers aborted")
}
