package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// admin starts an admin port that answers /readyz with the given status and text, on a listener of the test's choice.
func admin(t *testing.T, l net.Listener, status int, text string) {
	t.Helper()
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != readyPath {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text)) // the probe may have gone
	})}}
	s.Start()
	t.Cleanup(s.Close)
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() }) // the server may have closed it
	return l
}

func TestProbeOfAReadyPod(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	admin(t, l, http.StatusOK, "ready\nmore\n")
	want := result{code: 0, stdout: "ready: 200 OK: ready\n"}
	require.Equal(t, want, fnpod(t, nil, "probe", "--admin", l.Addr().String()))
	require.Equal(t, want, fnpod(t, []string{"FNPOD_ADMIN=" + l.Addr().String()}, "probe"))
	require.Equal(t, want, fnpod(t, nil, "probe", "http://"+l.Addr().String()))
	require.Equal(t, want, fnpod(t, []string{"FNPOD_ADMIN=off"}, "probe", "http://"+l.Addr().String()+readyPath))
}

func TestProbeOverASocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	admin(t, listen(t, "unix", path), http.StatusNoContent, "")
	want := result{code: 0, stdout: "ready: 204 No Content\n"}
	require.Equal(t, want, fnpod(t, nil, "probe", "--admin=unix:"+path))
	require.Equal(t, want, fnpod(t, nil, "probe", "unix://"+path))
}

func TestProbeOfAPodThatIsNotReady(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	admin(t, l, http.StatusServiceUnavailable, "drain\x1b[31ming\n")
	got := fnpod(t, nil, "probe", "--admin", l.Addr().String())
	require.Equal(t, result{code: exitFailure, stderr: "fnpod: not ready: 503 Service Unavailable: drain[31ming\n"}, got)
	got = fnpod(t, nil, "probe", "http://"+l.Addr().String()+"/other")
	require.Equal(t, result{code: exitFailure, stderr: "fnpod: not ready: 404 Not Found: 404 page not found\n"}, got)
}

func TestProbeOfNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	got := fnpod(t, nil, "probe", "unix://"+path)
	require.Equal(t, result{code: exitFailure, stderr: "fnpod: not ready: dial unix " + path + ": connect: no such file or directory\n"}, got)
}

func TestProbeOfAPodThatHangs(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0") // connections are made by the kernel and never answered
	got := fnpod(t, nil, "probe", "--admin", l.Addr().String(), "--probe-timeout=20ms")
	require.Equal(t, result{code: exitFailure, stderr: "fnpod: not ready: no answer within 20ms\n"}, got)
}

func TestProbeWithTheAdminPortOffIsAUsageError(t *testing.T) {
	got := fnpod(t, nil, "probe", "--admin=off")
	require.Equal(t, result{code: exitUsage, stderr: "fnpod: admin \"off\" (flag --admin): must be on, or give the probe a URL\n"}, got)
}
