package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
)

var update = flag.Bool("update", false, "write the files that are generated from the code")

// golden compares got with a file, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "%s is out of date: go test ./metrics -update", path)
}

// ownText renders our own series, without those of the runtime and the process.
func ownText(t *testing.T, s *metrics.Set) []byte {
	t.Helper()
	families, err := s.Gather()
	require.NoError(t, err)
	var b bytes.Buffer
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "fnpod_") {
			_, err := expfmt.MetricFamilyToText(&b, f)
			require.NoError(t, err)
		}
	}
	return b.Bytes()
}

// one is the source of a series that is always 1.
func one() float64 { return 1 }

// complete returns a set in which every series has a source.
func complete() *metrics.Set {
	s := metrics.New(2)
	s.Func(metrics.BuildInfo, one, "v1.2.3", "go1.26")
	for _, id := range []metrics.ID{
		metrics.Ready, metrics.QueueLimit, metrics.QueuePlaces, metrics.RequestsExecuting, metrics.RequestsQueued,
		metrics.QueueService, metrics.WorkersLimit, metrics.WorkerStarts, metrics.WorkersRecycled, metrics.FunctionUp,
		metrics.FunctionRestarts, metrics.OutputDropped, metrics.LogRecordsSuppressed, metrics.LogRecordsDropped,
		metrics.OrphansReaped, metrics.Processes, metrics.ProcessStarts,
	} {
		s.Func(id, func() float64 { return float64(id) })
	}
	s.Func(metrics.BrokerConnected, one, "orders")
	for _, state := range []string{"starting", "idle", "busy", "stopping", "stuck"} {
		s.Func(metrics.Workers, one, state)
	}
	for _, state := range []string{"idle", "busy"} {
		s.Func(metrics.UpstreamConnections, one, state)
	}
	for _, reason := range []string{"exited", "signaled", "oom", "timeout", "canceled", "protocol", "start"} {
		s.Func(metrics.WorkerDeaths, one, reason)
	}
	for _, reason := range []string{"exited", "signaled", "timeout", "canceled", "output", "start", "no_room", "refused"} {
		s.Func(metrics.ProcessFailures, one, reason)
	}
	return s
}

// use counts something everywhere.
func use(s *metrics.Set) {
	for i := range 2 {
		h := s.Shard(i)
		h.ConnectionsOpened.Add(5)
		h.ConnectionsClosed.Add(2)
		h.AcceptErrors.Add(1)
		h.Accepted.Add(20)
		for class := 1; class <= 5; class++ {
			h.Answered[class].Add(uint64(class))
		}
		h.ClientGone.Add(2)
		h.Aborted.Add(1)
		h.Tunnels.Add(2)
		h.BytesIn.Add(1000)
		h.BytesOut.Add(2000)
		h.Retries.Add(1)
		h.Panics.Add(1)
		for r := range h.Rejected {
			h.Rejected[r].Add(uint64(r))
		}
		for r := range h.UpstreamErrors {
			h.UpstreamErrors[r].Add(uint64(r))
		}
		h.QueueWait.Observe(0)
		h.FirstByte.Observe(3 * time.Millisecond)
		h.RunTime.Observe(40 * time.Millisecond)
		h.Duration.Observe(500 * time.Millisecond)
	}
}

func TestScrapeShowsEverySeries(t *testing.T) {
	s := complete()
	use(s)
	golden(t, "testdata/scrape.txt", ownText(t, s))
}

func TestManual(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, metrics.WriteManual(&b))
	golden(t, "../docs/metrics.md", b.Bytes())
}

func TestManualReportsAWriteError(t *testing.T) {
	require.ErrorIs(t, metrics.WriteManual(brokenWriter{}), os.ErrClosed)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestManualNamesEverySeriesOfAScrape(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, metrics.WriteManual(&b))
	families, err := complete().Gather()
	require.NoError(t, err)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "fnpod_") {
			require.Contains(t, b.String(), "| `"+f.GetName()+"` | "+strings.ToLower(f.GetType().String())+" |")
			require.Contains(t, b.String(), f.GetHelp())
		}
	}
}

func TestNamesPassThePrometheusLinter(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader(ownText(t, complete()))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// M2: metrics take the same room whatever the traffic.
func TestTheNumberOfSeriesDoesNotDependOnTraffic(t *testing.T) {
	count := func(s *metrics.Set) (n int) {
		families, err := s.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "fnpod_") {
				continue
			}
			for _, m := range f.Metric {
				n += 1 + len(m.GetHistogram().GetBucket())
			}
		}
		return n
	}
	s := complete()
	fresh := count(s)
	for range 100 {
		use(s)
	}
	require.Equal(t, fresh, count(s))
	require.Less(t, fresh, 250)
}

func TestEverySetHasTheSeriesOfRuntimeAndProcess(t *testing.T) {
	s := metrics.New(1)
	require.Positive(t, family(t, s, "go_goroutines").Metric[0].Gauge.GetValue())
	require.Positive(t, family(t, s, "process_open_fds").Metric[0].Gauge.GetValue())
}

func TestSeriesWithoutASourceAreAbsent(t *testing.T) {
	text := string(ownText(t, metrics.New(1)))
	require.NotContains(t, text, "fnpod_workers")
	require.NotContains(t, text, "fnpod_build_info")
}

func TestFuncRefusesWhatCanOnlyBeABug(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(*metrics.Set)
	}{
		{"series of a shard", func(s *metrics.Set) { s.Func(0, one) }},
		{"label value outside the table", func(s *metrics.Set) { s.Func(metrics.Workers, one, "10.0.0.1") }},
		{"label value missing", func(s *metrics.Set) { s.Func(metrics.Workers, one) }},
		{"label value too many", func(s *metrics.Set) { s.Func(metrics.Ready, one, "x") }},
		{"second source", func(s *metrics.Set) { s.Func(metrics.Ready, one); s.Func(metrics.Ready, one) }},
		{"second build", func(s *metrics.Set) {
			s.Func(metrics.BuildInfo, one, "v1", "go1")
			s.Func(metrics.BuildInfo, one, "v2", "go1")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := metrics.New(1)
			require.Panics(t, func() { test.call(s) })
			_, err := s.Gather()
			require.NoError(t, err)
		})
	}
}

func TestShardTakesAnyNumber(t *testing.T) {
	s := metrics.New(3)
	require.Same(t, s.Shard(1), s.Shard(4))
	require.NotSame(t, s.Shard(0), s.Shard(1))
	require.NotNil(t, s.Shard(-1))
	require.NotNil(t, metrics.New(0).Shard(7))
}

// requireSum checks P12 in one scrape.
func requireSum(t *testing.T, families []*dto.MetricFamily) {
	t.Helper()
	sum := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			sum[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	inFlight := sum["fnpod_requests_in_flight"]
	ended := sum["fnpod_requests_total"] + sum["fnpod_requests_client_gone_total"] + sum["fnpod_requests_aborted_total"]
	require.InDelta(t, sum["fnpod_requests_accepted_total"], ended+inFlight, 0)
	require.GreaterOrEqual(t, inFlight, 0.0)
	require.LessOrEqual(t, inFlight, 1e6, "more in flight than there ever were")
	open := sum["fnpod_connections_opened_total"] - sum["fnpod_connections_closed_total"]
	require.InDelta(t, open, sum["fnpod_connections"], 0)
}

// The counters add up at any scrape, also in the middle of traffic (P12).
func TestRequestsAddUpAtAnyScrape(t *testing.T) {
	s := metrics.New(2)
	var traffic, scrapes sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		traffic.Go(func() {
			h := s.Shard(i)
			for n := range 20_000 {
				h.ConnectionsOpened.Add(1)
				h.Accepted.Add(1)
				switch n % 10 {
				case 0:
					h.ClientGone.Add(1)
				case 1:
					h.Aborted.Add(1)
				default:
					h.Answered[1+n%5].Add(1)
				}
				h.RunTime.Observe(time.Duration(n) * time.Microsecond)
				h.ConnectionsClosed.Add(1)
			}
		})
	}
	for range 2 {
		scrapes.Go(func() {
			for last := uint64(0); ; {
				families, err := s.Gather()
				require.NoError(t, err)
				requireSum(t, families)
				r := s.Requests()
				require.LessOrEqual(t, r.InFlight, r.Accepted)
				require.GreaterOrEqual(t, r.Accepted, last)
				last = r.Accepted
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	traffic.Wait()
	close(done)
	scrapes.Wait()
	r := s.Requests()
	require.EqualValues(t, 80_000, r.Accepted)
	require.Zero(t, r.InFlight)
}

// M1: labels come from closed sets.
func TestReasonsAreTheClosedLists(t *testing.T) {
	const rejects = "request_line version method target host header header_size header_count framing " +
		"body_size chunk trailer expect upgrade timeout_head timeout_body cut conn_limit " +
		"queue_full queue_timeout draining auth"
	const faults = "connect timeout cut malformed header_size body_size surplus status early_close stale reset " +
		"panic worker_exit worker_oom worker_protocol"
	for i, want := range strings.Fields(rejects) {
		r, ok := metrics.ParseRejectReason(want)
		require.True(t, ok, want)
		require.Equal(t, want, r.String())
		require.EqualValues(t, i+1, r)
	}
	for i, want := range strings.Fields(faults) {
		r, ok := metrics.ParseUpstreamReason(want)
		require.True(t, ok, want)
		require.Equal(t, want, r.String())
		require.EqualValues(t, i+1, r)
	}
	h := metrics.New(1).Shard(0)
	require.Len(t, h.Rejected[:], 1+len(strings.Fields(rejects)))
	require.Len(t, h.UpstreamErrors[:], 1+len(strings.Fields(faults)))
}

// M1: and from nowhere else.
func TestUnknownReasonsAreNone(t *testing.T) {
	for _, value := range []string{"", "nonsense", "Queue_Full"} {
		r, ok := metrics.ParseRejectReason(value)
		require.False(t, ok)
		require.Zero(t, r)
		require.Empty(t, r.String())
		u, ok := metrics.ParseUpstreamReason(value)
		require.False(t, ok)
		require.Zero(t, u)
		require.Empty(t, u.String())
	}
}

func ExampleSet_Func() {
	s := metrics.New(1)
	s.Func(metrics.Workers, func() float64 { return 3 }, "idle")
	families, err := s.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		if f.GetName() == "fnpod_workers" {
			fmt.Println(f.Metric[0].Label[0].GetValue(), f.Metric[0].Gauge.GetValue())
		}
	}
	// Output: idle 3
}
