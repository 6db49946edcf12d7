package knative_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fnpod/fnpod/platform/knative"
)

// stat is the message, by the names that the autoscaler has for its fields.
type stat struct {
	pod                                                                string
	average, proxiedAverage, requestCount, proxiedRequestCount, uptime float64
	fields                                                             []protowire.Number
}

// scrape reads a Stat as the autoscaler does.
func scrape(t *testing.T, s *knative.Stat) (m stat) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/protobuf", w.Header().Get("Content-Type"))
	b := w.Body.Bytes()
	require.LessOrEqual(t, len(b), 336, "the autoscaler reads no more")
	doubles := map[protowire.Number]*float64{2: &m.average, 3: &m.proxiedAverage, 4: &m.requestCount, 5: &m.proxiedRequestCount, 6: &m.uptime}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		require.NoError(t, protowire.ParseError(n))
		b = b[n:]
		m.fields = append(m.fields, number)
		if number == 1 {
			require.Equal(t, protowire.BytesType, kind)
			text, n := protowire.ConsumeBytes(b)
			require.NoError(t, protowire.ParseError(n))
			m.pod, b = string(text), b[n:]
			continue
		}
		require.Equal(t, protowire.Fixed64Type, kind)
		bits, n := protowire.ConsumeFixed64(b)
		require.NoError(t, protowire.ParseError(n))
		require.Contains(t, doubles, number)
		*doubles[number] = math.Float64frombits(bits)
		b = b[n:]
	}
	return m
}

// running starts a Stat; its windows end at whole seconds.
func running(t *testing.T) *knative.Stat {
	t.Helper()
	s := knative.NewStat("hello-pod")
	go s.Run(t.Context())
	synctest.Wait()
	return s
}

// pass lets time go by, and a window that ends then be summed up.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestKnative102ZerosAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		require.Equal(t, stat{pod: "hello-pod", fields: []protowire.Number{1}}, scrape(t, s))
		pass(time.Second)
		require.Equal(t, stat{pod: "hello-pod", uptime: 1, fields: []protowire.Number{1, 6}}, scrape(t, s))
	})
	long := knative.NewStat(string(make([]byte, 1000)))
	require.Len(t, scrape(t, long).pod, 256)
}

func TestKnative101OtherPathsAreNotFound(t *testing.T) {
	w := httptest.NewRecorder()
	knative.NewStat("p").ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func TestKnative107WhatWasObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		s.Begin(false)
		s.Begin(false)
		s.Begin(true)
		pass(time.Second)
		m := scrape(t, s)
		require.Equal(t, []float64{3, 1, 3, 1}, []float64{m.average, m.proxiedAverage, m.requestCount, m.proxiedRequestCount})
		pass(500 * time.Millisecond)
		require.Equal(t, m, scrape(t, s), "until the window ends, and reading resets nothing")
		pass(500 * time.Millisecond)
		m = scrape(t, s)
		require.Equal(t, []float64{3, 1, 0, 0, 2}, []float64{m.average, m.proxiedAverage, m.requestCount, m.proxiedRequestCount, m.uptime})
		require.Equal(t, []protowire.Number{1, 2, 3, 6}, m.fields)
		s.End(true)
		s.End(false)
		pass(250 * time.Millisecond)
		s.End(false)
		pass(750 * time.Millisecond)
		m = scrape(t, s)
		require.Equal(t, []float64{0.25, 0}, []float64{m.average, m.proxiedAverage})
	})
}

// reference is a Stat that keeps every request.
type reference struct {
	begun, ended []time.Duration // ended is -1 while the request runs
}

// over returns the average between two times, and how many began.
func (r *reference) over(from, to time.Duration) (average, count float64) {
	for i, b := range r.begun {
		e := r.ended[i]
		if e < 0 || e > to {
			e = to
		}
		average += max(e-max(b, from), 0).Seconds()
		if b >= from && b < to {
			count++
		}
	}
	return average / (to - from).Seconds(), count
}

func TestKnative104AveragesAreExact(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			s := running(t)
			var refs [2]reference // of all, of those that are proxied
			type open struct {
				proxied bool
				at      [2]int
			}
			var running []open
			start := time.Now()
			for second := range 20 {
				from, to := time.Duration(second)*time.Second, time.Duration(second+1)*time.Second
				for {
					pass(time.Duration(random.IntN(int(100*time.Millisecond))) + 1)
					now := time.Since(start)
					if now >= to-150*time.Millisecond {
						break
					}
					if len(running) > 0 && random.IntN(2) == 0 {
						i := random.IntN(len(running))
						o := running[i]
						running = append(running[:i], running[i+1:]...)
						s.End(o.proxied)
						refs[0].ended[o.at[0]] = now
						if o.proxied {
							refs[1].ended[o.at[1]] = now
						}
						continue
					}
					o := open{proxied: random.IntN(3) == 0, at: [2]int{len(refs[0].begun), len(refs[1].begun)}}
					s.Begin(o.proxied)
					for k := range refs {
						if k == 0 || o.proxied {
							refs[k].begun, refs[k].ended = append(refs[k].begun, now), append(refs[k].ended, -1)
						}
					}
					running = append(running, o)
				}
				pass(to - time.Since(start))
				m := scrape(t, s)
				average, count := refs[0].over(from, to)
				require.InDelta(t, average, m.average, 1e-5)
				require.InDelta(t, count, m.requestCount, 0)
				average, count = refs[1].over(from, to)
				require.InDelta(t, average, m.proxiedAverage, 1e-5)
				require.InDelta(t, count, m.proxiedRequestCount, 0)
			}
		})
	}
}

// The end of a window and requests do not wait for each other: an average stays within what can be.
func TestKnative104WindowsWhileRequestsComeAndGo(t *testing.T) {
	s := knative.NewStat("p")
	go s.Run(t.Context())
	const clients = 8
	var done sync.WaitGroup
	stop := make(chan struct{})
	for range clients {
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Begin(true)
					s.End(true)
				}
			}
		})
	}
	var uptime float64
	for range 3 {
		require.Eventually(t, func() bool { return scrape(t, s).uptime > uptime }, 10*time.Second, 10*time.Millisecond)
		m := scrape(t, s)
		uptime = m.uptime
		require.True(t, m.average >= 0 && m.average <= clients, m.average)
		require.Positive(t, m.requestCount)
	}
	close(stop)
	done.Wait()
}

func TestStatDoesNotAllocate(t *testing.T) {
	s := knative.NewStat("p")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		s.Begin(true)
		s.End(true)
	}))
}

func BenchmarkStat(b *testing.B) {
	s := knative.NewStat("p")
	for b.Loop() {
		s.Begin(false)
		s.End(false)
	}
}
