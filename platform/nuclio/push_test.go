package nuclio_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/nuclio"
)

// sinks reads a platform's sinks of figures, of which all are used.
func sinks(t *testing.T, text string, names ...string) (*nuclio.Settings, error) {
	t.Helper()
	p, err := nuclio.ParsePlatform([]byte("metrics: {sinks: " + text + ", functions: [" + strings.Join(names, ", ") + "]}"))
	require.NoError(t, err)
	c, err := nuclio.ParseConfig([]byte("metadata: {name: fn, namespace: ns}\nspec: {runtime: python}"))
	require.NoError(t, err)
	return nuclio.Read(c, p, func(name string) (string, bool) { return "pod-1", name == "NUCLIO_FUNCTION_INSTANCE" })
}

// §18, §2.3: which sinks there are, and what they call the pod.
func TestNuclio18Sinks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sinks    string
		names    []string
		instance string
		err      string
	}{
		{"{}", nil, "pod-1", ""},
		{"{a: {kind: prometheusPull}}", []string{"a"}, "pod-1", ""},
		{"{a: {kind: prometheusPull, attributes: {instanceName: \"{{.Namespace}}/{{ .Name }}\"}}}", []string{"a"}, "ns/fn", ""},
		{"{a: {kind: prometheusPush, url: h, attributes: {interval: 1s, jobName: j, instanceName: i}}}", []string{"a"}, "i", ""},
		{"{a: {kind: prometheusPush, enabled: false}}", []string{"a"}, "pod-1", ""},
		{"{a: {kind: prometheusPush, url: h, attributes: {jobName: j, instanceName: i}}}", []string{"a"}, "", `metrics.sinks.a: attribute interval ""`},
		{"{a: {kind: prometheusPush, url: h, attributes: {interval: 1s, instanceName: i}}}", []string{"a"}, "", "metrics.sinks.a: attribute jobName: is needed"},
		{"{a: {kind: prometheusPush, url: h, attributes: {interval: 1s, jobName: j}}}", []string{"a"}, "", "metrics.sinks.a: attribute instanceName: is needed"},
		{"{a: {kind: prometheusPush, url: \"ftp://h\", attributes: {interval: 1s, jobName: j, instanceName: i}}}", []string{"a"}, "", `url "ftp://h"`},
		{"{a: {kind: prometheusPush, attributes: {interval: 1s, jobName: j, instanceName: i}}}", []string{"a"}, "", `url ""`},
		{"{a: {kind: appinsights}}", []string{"a"}, "", `metrics.sinks.a: kind "appinsights": is not there; use prometheusPull or prometheusPush`},
		{"{}", []string{"a"}, "", `metrics.functions "a": there is no such sink`},
		{"{a: {kind: prometheusPull, attributes: {instanceName: x}}, b: {kind: prometheusPush, url: h, attributes: {interval: 1s, jobName: j, instanceName: i}}}", []string{"a", "b"}, "", `instanceName "i": is "x" in another sink`},
	} {
		s, err := sinks(t, test.sinks, test.names...)
		if test.err != "" {
			require.ErrorContains(t, err, test.err)
			continue
		}
		require.NoError(t, err, test.sinks)
		require.Equal(t, test.instance, s.Instance, test.sinks)
	}
}

// §18 prometheusPush: series go to the place of their job, and what fails is tried again.
func TestNuclio18Push(t *testing.T) {
	t.Parallel()
	for job, place := range map[string]string{"j": "/metrics/job/j", "a b": "/metrics/job/a b", "a/b": "/metrics/job@base64/YS9i"} {
		got := make(chan string, 100)
		asked := 0
		gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 {
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			}
			b, _ := io.ReadAll(r.Body)
			got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(b)
		}))
		s, err := sinks(t, `{a: {kind: prometheusPush, url: "`+gateway.URL+`/", attributes: {interval: 5ms, jobName: `+job+`, instanceName: i}}}`, "a")
		require.NoError(t, err)
		require.Empty(t, s.Warnings)
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		ended := make(chan error)
		go func() {
			ended <- s.Pushes[0].Run(ctx, func() ([]byte, string, error) { return []byte("a 1\n"), "text/x", nil }, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		require.Equal(t, "POST "+place+" text/x a 1\n", <-got)
		<-got
		cancel()
		require.NoError(t, <-ended)
		require.Contains(t, log.String(), "503 Service Unavailable: not now")
		gateway.Close()
	}
}
