package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func TestKnative121TheLogIsAsTheControllerWantsIt(t *testing.T) {
	t.Parallel()
	otherwise(t, "other messages")
	p := prepareQueueProxy(t, freePort(t), "SERVING_LOGGING_LEVEL=warn", "SERVING_LOGGING_CONFIG="+
		`{"level":"info","outputPaths":["stdout"],"encoding":"json","encoderConfig":{"timeKey":"timestamp","levelKey":"severity","nameKey":"logger","callerKey":"caller","messageKey":"message"}}`)
	var stdout bytes.Buffer
	p.cmd.Stdout = &stdout
	p.begin()
	p.waitListening()
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 502, resp.StatusCode)
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
	require.Empty(t, p.log.String())
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	require.Len(t, lines, 1, "nothing less important than a warning: %s", stdout.String())
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &m))
	require.Equal(t, []any{"queueproxy", "default/hello-00001", "hello-pod", "request failed"}, []any{m["logger"], m["knative.dev/key"], m["knative.dev/pod"], m["message"]})
	require.NotEmpty(t, m["error"])
}

// logging starts a queue-proxy whose standard output is read by lines, with a request log as said in
// OBSERVABILITY_CONFIG.
func logging(t *testing.T, function, config string, environ ...string) (p *queuePod, lines func(n int) []string) {
	t.Helper()
	p = prepareQueueProxy(t, function, append(environ, "OBSERVABILITY_CONFIG="+config)...)
	stdout := &record{}
	p.cmd.Stdout = stdout
	p.begin()
	p.waitListening()
	return p, func(n int) (lines []string) {
		t.Helper()
		require.Eventually(t, func() bool {
			lines = strings.Split(stdout.String(), "\n")
			return len(lines) > n
		}, 20*time.Second, 5*time.Millisecond, "fewer than %d lines", n)
		require.Len(t, lines, n+1)
		require.Empty(t, lines[n], "whole lines")
		return lines[:n]
	}
}

func TestKnative122RequestsAreLoggedAsTheOriginalDoes(t *testing.T) {
	t.Parallel()
	p, lines := logging(t, userContainer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "hello")
	}), `{"enableRequestLog":true}`)
	p.ask("POST", `/a?b="c"`, "body", "User-Agent: a\"gent", "Referer: http://r/", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	p.ask("GET", "/", "", "User-Agent: kube-probe/1.30", "K-Network-Probe: queue") // not logged
	p.ask("GET", "/", "", "K-Network-Probe: other")                                // likewise
	p.ask("GET", "/2", "", "X-B3-TraceId: b3")
	all := lines(2)
	require.Regexp(t, `^\{"httpRequest": \{"requestMethod": "POST", "requestUrl": "/a\?b\\u003D\\"c\\"", "requestSize": "4", "status": 418, "responseSize": "5", `+
		`"userAgent": "a\\"gent", "remoteIp": "127\.0\.0\.1:\d+", "serverIp": "127\.0\.0\.1", "referer": "http://r/", "latency": "[0-9.e-]+s", "protocol": "HTTP/1\.1"\}, `+
		`"traceId": "0af7651916cd43dd8448eb211c80319c"\}$`, all[0])
	require.True(t, json.Valid([]byte(all[0])))
	require.Contains(t, all[1], `"requestUrl": "/2"`)
	require.Contains(t, all[1], `"traceId": "b3"`)
}

func TestKnative122TemplatesOfTheOperator(t *testing.T) {
	t.Parallel()
	address, release := blocked(t)
	defer release()
	p, lines := logging(t, address, `{"enableRequestLog":true,"enableProbeRequestLog":true,"requestLogTemplate":"`+
		`{{.Request.Method}} {{.Request.Host}} {{index .Request.Header.Foo 0}} {{.Request.TLS}} {{.Response.Code}} {{.Response.Size}} {{.Revision.Name}} `+
		`{{.Revision.Namespace}} {{.Revision.Service}} {{.Revision.Configuration}} {{.Revision.PodName}} {{.Revision.PodIP}}"}`, "REVISION_TIMEOUT_SECONDS=1")
	const revision = " hello-00001 default hello hello hello-pod 127.0.0.1"
	p.ask("GET", "/", "", "Host: h", "Foo: bar", "K-Network-Probe: probe", "K-Network-Hash: h")
	p.ask("GET", "/", "", "Host: h", "Foo: bar")
	release()
	p.ask("PUT", "/", "", "Host: h", "Foo: bar")
	p.ask("PUT", "/without", "", "Host: h")
	all := lines(4)
	require.Equal(t, "GET h bar <nil> 200 0"+revision, all[0])
	require.Equal(t, "GET h bar <nil> 504 15"+revision, all[1])
	require.Equal(t, "PUT h bar <nil> 200 0"+revision, all[2])
	require.Regexp(t, `^Invalid request log template: method: PUT, response code: 200, latency: [0-9.e-]+, url: /without$`, all[3])
}

func TestKnative122ATemplateThatCannotBeParsed(t *testing.T) {
	t.Parallel()
	p, lines := logging(t, userContainer(t, told), `{"enableRequestLog":true,"requestLogTemplate":"{{"}`)
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 200, resp.StatusCode)
	otherwise(t, "30 seconds of quiet are fixed")
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
	require.Contains(t, p.log.String(), `"requests are not logged"`)
	lines(0)
}

func TestKnative122AnAnswerThatWasCutIsLoggedAs500(t *testing.T) {
	t.Parallel()
	p, lines := logging(t, userContainer(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), `{"enableRequestLog":true,"requestLogTemplate":"{{.Response.Code}} {{.Response.Size}}"}`)
	resp, err := http.Get("http://" + p.listen)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, resp.Body.Close())
	require.Error(t, err)
	require.Equal(t, []string{"500 0"}, lines(1))
}

func TestKnative122TunnelsAreLoggedWhenTheyEnd(t *testing.T) {
	t.Parallel()
	p, lines := logging(t, userContainer(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			_ = c.CloseNow()
		}
	}), `{"enableRequestLog":true,"requestLogTemplate":"{{.Request.Method}} {{.Request.Host}} {{.Request.UserAgent}} {{.Request.RequestURI}} {{.Response.Code}}"}`)
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.listen+"/chat", &websocket.DialOptions{Host: "h", HTTPHeader: http.Header{"User-Agent": {"ws"}}})
	require.NoError(t, err)
	_, _, err = c.Read(t.Context())
	require.Error(t, err)
	_ = c.CloseNow()
	otherwise(t, "the status of a tunnel is 200")
	require.Equal(t, []string{"GET h ws /chat 101"}, lines(1))
}
