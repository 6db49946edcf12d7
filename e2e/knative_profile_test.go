package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKnative3ProfilesOnTheirPort(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{
		{`OBSERVABILITY_CONFIG={"runtime":{"profiling":"enabled"}}`},
		{"SERVING_REQUEST_METRICS_BACKEND=", "ENABLE_PROFILING=true"},
	} {
		address := freePort(t)
		p := prepareQueueProxy(t, userContainer(t, told), "PROFILING_PORT="+portOf(t, address))
		if len(environ) > 1 {
			p.older()
		}
		p.cmd.Env = append(p.cmd.Env, environ...)
		p.begin()
		p.waitListening()
		_, body := p.at(http.MethodGet, "http://"+address+"/debug/pprof/")
		require.Contains(t, body, "goroutine ")
		_, body = p.at(http.MethodGet, "http://"+address+"/debug/pprof/goroutine?debug=1")
		require.Contains(t, body, "goroutine profile: total ")
		otherwise(t, "seconds are whole; older controllers are not understood")
		for path, beginning := range map[string]string{"heap?gc=1": "\x1f\x8b", "profile?seconds=0.05": "\x1f\x8b", "trace?seconds=0.05": "go 1."} {
			resp, body := p.at(http.MethodGet, "http://"+address+"/debug/pprof/"+path)
			require.Equal(t, http.StatusOK, resp.StatusCode, path)
			require.Equal(t, beginning, body[:min(len(body), len(beginning))], path)
		}
		for path, code := range map[string]int{"/debug/pprof/none": 404, "/": 404, "/metrics": 404} {
			resp, _ := p.at(http.MethodGet, "http://"+address+path)
			require.Equal(t, code, resp.StatusCode, path)
		}
	}
	off := freePort(t)
	queueProxy(t, userContainer(t, told), "PROFILING_PORT="+portOf(t, off))
	_, err := http.Get("http://" + off + "/debug/pprof/")
	require.Error(t, err)
}
