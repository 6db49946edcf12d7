package knative_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fnpod/fnpod/platform/knative"
)

// prober is one for the value of SERVING_READINESS_PROBE.
func prober(t *testing.T, probe string, changes ...string) *knative.Prober {
	t.Helper()
	s, err := knative.Read(controller(append(changes, "SERVING_READINESS_PROBE="+probe)...))
	require.NoError(t, err)
	p := knative.NewProber(s, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func TestKnative75AProbeWithoutPeriodPolls(t *testing.T) {
	tests := []struct {
		name     string
		probe    string
		slow     bool // the function takes longer than an attempt may
		until    int64
		attempts int64
		took     time.Duration
		ready    bool
	}{
		{"fails at once", `{"tcpSocket":{"port":1}}`, false, 1000, 200, 10 * time.Second, false},
		{"too slow", `{"tcpSocket":{"port":1}}`, true, 1000, 100, 10 * time.Second, false},
		{"ready at once", `{"tcpSocket":{"port":1}}`, false, 0, 1, 0, true},
		{"ready later", `{"tcpSocket":{"port":1},"successThreshold":1}`, false, 10, 11, 500 * time.Millisecond, true},
		{"passes thrice", `{"tcpSocket":{"port":1},"successThreshold":3}`, false, 10, 13, 600 * time.Millisecond, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := prober(t, tt.probe)
				var attempts atomic.Int64
				p.SetAttempt(func(ctx context.Context) error {
					if n := attempts.Add(1); tt.slow {
						<-ctx.Done()
						return ctx.Err()
					} else if n <= tt.until {
						return errors.New("refused")
					}
					return nil
				})
				begun := time.Now()
				require.Equal(t, tt.ready, p.Ask(nil))
				require.Equal(t, tt.took, time.Since(begun))
				require.InDelta(t, tt.attempts, attempts.Load(), 1)
				require.Equal(t, tt.ready, p.Ready())
				if tt.ready { // what has passed once needs one pass
					before := attempts.Load()
					require.True(t, p.Ask(nil))
					require.Equal(t, before+1, attempts.Load())
				}
			})
		})
	}
}

func TestKnative74AProbeWithAPeriodIsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prober(t, `{"tcpSocket":{"port":1},"periodSeconds":5,"timeoutSeconds":3,"successThreshold":2}`)
		var attempts int
		p.SetAttempt(func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		begun := time.Now()
		require.False(t, p.Ask(nil))
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.True(t, p.Ask(nil))
		require.Equal(t, 2, attempts)
	})
}

func TestKnative73WhoAsksSharesTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prober(t, `{"tcpSocket":{"port":1},"periodSeconds":5}`)
		var attempts atomic.Int64
		let := make(chan struct{})
		p.SetAttempt(func(ctx context.Context) error {
			attempts.Add(1)
			<-let
			return ctx.Err()
		})
		left := make(chan struct{})
		answers := make(chan bool, 3) // one for each who asks
		go func() { answers <- p.Ask(left) }()
		synctest.Wait()
		go func() { answers <- p.Ask(nil) }()
		go func() { answers <- p.Ask(nil) }()
		synctest.Wait()
		close(left)
		require.False(t, <-answers, "he has left; the run goes on")
		close(let)
		require.True(t, <-answers)
		require.True(t, <-answers)
		require.Equal(t, int64(1), attempts.Load())
	})
}

func TestKnative76Attempts(t *testing.T) {
	saw := make(chan *http.Request, 100) // all of a test
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw <- r
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case "/ok":
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(function.Close)
	_, port, err := net.SplitHostPort(function.Listener.Addr().String())
	require.NoError(t, err)
	ask := func(probe string, changes ...string) bool {
		probe = strings.NewReplacer("PORT", port).Replace(probe)
		return prober(t, probe, changes...).Ask(nil)
	}
	const once = `,"periodSeconds":1,"timeoutSeconds":5}`
	require.True(t, ask(`{"httpGet":{"path":"ok?a=b","port":"PORT","host":"127.0.0.1","scheme":"HTTP","httpHeaders":[{"name":"a","value":"b"},{"name":"Host","value":"h"}]}`+once))
	r := <-saw
	require.Equal(t, "/ok?a=b", r.RequestURI)
	require.Equal(t, "b", r.Header.Get("A"))
	require.Equal(t, "h", r.Host)
	require.Equal(t, "HTTP/1.1", r.Proto)
	require.True(t, strings.HasPrefix(r.UserAgent(), "kube-probe/"))

	require.True(t, ask(`{"httpGet":{"path":"/moved","port":PORT}`+once), "a redirect is good")
	require.False(t, ask(`{"httpGet":{"path":"/bad","port":PORT}`+once))
	require.True(t, ask(`{"httpGet":{"path":"/ok","port":PORT}`+once, "ENABLE_HTTP2_AUTO_DETECTION=true"), "HTTP/1.1 remains")
	require.True(t, ask(`{"tcpSocket":{"port":PORT,"host":"127.0.0.1"}`+once))
	require.False(t, ask(`{"tcpSocket":{"port":1}`+once))
	require.False(t, ask(`{"periodSeconds":1}`), "no probe that could be run")
	require.False(t, ask(`{"grpc":{"port":PORT}`+once), "no server of gRPC")
	for _, always := range []string{"", "null"} {
		require.True(t, ask(always), always)
	}
	require.True(t, ask("[]", "ENABLE_MULTI_CONTAINER_PROBES=true"))
	require.True(t, ask("[null]", "ENABLE_MULTI_CONTAINER_PROBES=true"), "D8")
	require.False(t, ask(`[null,{"tcpSocket":{"port":PORT}`+once+`,{"tcpSocket":{"port":1}`+once+`]`, "ENABLE_MULTI_CONTAINER_PROBES=true"), "all must pass")
}

// Certificates are not looked at, as kubelet does not.
func TestKnative76HTTPS(t *testing.T) {
	function := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	function.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(function.Close)
	_, port, err := net.SplitHostPort(function.Listener.Addr().String())
	require.NoError(t, err)
	for scheme, want := range map[string]bool{"HTTPS": true, "https": true, "HTTP": false} {
		probe := `{"httpGet":{"path":"/","port":` + port + `,"scheme":"` + scheme + `"},"periodSeconds":1,"timeoutSeconds":5}`
		require.Equal(t, want, prober(t, probe, "ENABLE_HTTP2_AUTO_DETECTION=true").Ask(nil), scheme)
	}
}

// A run that fails is one line, however many attempts it had.
func TestKnative75AFailedRunIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := knative.Read(controller(`SERVING_READINESS_PROBE={"tcpSocket":{"port":1}}`))
		require.NoError(t, err)
		var out bytes.Buffer
		p := knative.NewProber(s, slog.New(slog.NewJSONHandler(&out, nil)))
		defer p.Close()
		p.SetAttempt(func(context.Context) error { return errors.New("refused") })
		require.False(t, p.Ask(nil))
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")))
		require.Regexp(t, `"function is not ready","err":"\d+ attempts failed, the last: refused"`, out.String())
	})
}

func TestKnative76HTTP2IsFoundOut(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	var proto atomic.Value
	function := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) }))
	function.Config.Protocols = protocols
	function.Start()
	t.Cleanup(function.Close)
	_, port, err := net.SplitHostPort(function.Listener.Addr().String())
	require.NoError(t, err)
	probe := `{"httpGet":{"path":"/","port":` + port + `},"periodSeconds":1,"timeoutSeconds":5}`
	require.True(t, prober(t, probe, "ENABLE_HTTP2_AUTO_DETECTION=true").Ask(nil))
	require.Equal(t, "HTTP/2.0", proto.Load())
	require.False(t, prober(t, probe).Ask(nil))
}

func TestKnative76GRPC(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, states := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, states)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	states.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	states.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for service, want := range map[string]bool{"": true, "up": true, "down": false, "unknown": false} {
		probe := `{"grpc":{"port":` + port + `,"service":"` + service + `"},"periodSeconds":1,"timeoutSeconds":5}`
		require.Equal(t, want, prober(t, probe).Ask(nil), service)
	}
}
