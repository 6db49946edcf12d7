package e2e_test

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ofClassic starts the binary as the classic watchdog.
func ofClassic(t *testing.T, command string, environ ...string) *pod {
	t.Helper()
	p := ofPod(t)
	env := p.cmd.Env[:0]
	for _, v := range p.cmd.Env { // of-watchdog's
		if !strings.HasPrefix(v, "mode=") && !strings.HasPrefix(v, "upstream_url=") {
			env = append(env, v)
		}
	}
	p.cmd.Env = append(append(env, "fprocess="+command, "FNPOD_PLATFORM=openfaas-classic"), environ...)
	p.begin()
	require.Eventually(t, func() bool { code, body := p.get("/_/health"); return code == 200 && body == "OK" }, 20*time.Second, 5*time.Millisecond)
	return p
}

// raw sends a request as it is and returns the answer.
func (p *pod) raw(request string) (*http.Response, string) {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(p.t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, request)
	require.NoError(p.t, err)
	r, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(p.t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	return r, string(b)
}

// §17: methods, and whose type an answer has.
func TestOpenFaaS17MethodsAndTypes(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "cat")
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		resp, body := ofAsk(t, p, method, "/", `{"a":1}`, "Content-Type: application/json")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, `{"a":1}`, body, method)
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		require.Regexp(t, `^\d+\.\d{6}$`, resp.Header.Get("X-Duration-Seconds"))
	}
	for _, method := range []string{"HEAD", "OPTIONS", "PROPFIND"} {
		resp, body := ofAsk(t, p, method, "/", "")
		require.Equal(t, 405, resp.StatusCode, method)
		require.Empty(t, body)
	}
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="405",method="options"}`) == 1 }, 10*time.Second, 5*time.Millisecond, "it is counted")
	resp, _ := ofAsk(t, p, "POST", "/", "<html>")
	require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"), "looked at")
	resp, body := ofAsk(t, p, "POST", "/_/ready", "ready")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "ready", body, "a path like any other")
	p.logged(`Forking fprocess\.`)
	p.logged(`Wrote 7 Bytes - Duration: \d+\.\d{6}s`)

	p = ofClassic(t, "cat", "content_type=text/x-own")
	resp, _ = ofAsk(t, p, "POST", "/", "x", "Content-Type: application/json")
	require.Equal(t, "text/x-own", resp.Header.Get("Content-Type"))
}

// §17: a failure is a 500 with its reason and what was printed; nothing of it looks like an answer.
func TestOpenFaaS17Failures(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "sh "+scriptFile(t, `printf partial; printf oops >&2; exit 3`), "content_type=image/png")
	resp, body := ofAsk(t, p, "POST", "/", "x")
	require.Equal(t, 500, resp.StatusCode)
	require.Equal(t, "exit status 3\npartialoops", body)
	require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain"))
	require.Empty(t, resp.Header.Get("X-Duration-Seconds"))
	p.logged(`POST / - 500 - .*`)

	p = ofClassic(t, "sh "+scriptFile(t, `printf partial; printf 'oops\nagain' >&2; kill -9 $$`), "combine_output=false")
	resp, body = ofAsk(t, p, "POST", "/", "x")
	require.Equal(t, 500, resp.StatusCode)
	require.Equal(t, "signal: killed\npartial", body)
	p.logged("stderr: oops")
	p.logged("stderr: again")

	p = ofClassic(t, "not-there", "write_debug=true")
	resp, body = ofAsk(t, p, "POST", "/", "x")
	require.Equal(t, 500, resp.StatusCode)
	require.Equal(t, "exec: \"not-there\": executable file not found in $PATH\n", body)
}

// §17: both streams are one answer, in the order of writing.
func TestOpenFaaS17CombineOutput(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "sh "+scriptFile(t, `for i in 1 2 3; do echo out $i; echo err $i >&2; done`))
	_, body := ofAsk(t, p, "GET", "/", "")
	require.Equal(t, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n", body)
	p = ofClassic(t, "sh "+scriptFile(t, `echo out; echo err >&2`), "combine_output=no")
	_, body = ofAsk(t, p, "GET", "/", "")
	require.Equal(t, "out\n", body)
	p.logged("stderr: err")
}

// §17: exec_timeout is off unless set, and then a 408 in time, whoever holds the output.
func TestOpenFaaS17Timeout(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "sh "+scriptFile(t, `sleep 1000 & setsid sleep 1001 & sleep 1002`), "exec_timeout=300ms")
	resp, body := ofAsk(t, p, "GET", "/", "")
	require.Equal(t, 408, resp.StatusCode)
	require.Equal(t, "Killed process.\n", body)
	require.Empty(t, resp.Header.Get("X-Duration-Seconds"))
	require.Eventually(t, func() bool { return len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond)
}

// §17: a broken body is a 400 with a text and a line end.
func TestOpenFaaS17BrokenBody(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "cat")
	resp, body := p.raw("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n")
	require.Equal(t, 400, resp.StatusCode)
	require.Regexp(t, `^.+\n$`, body)
}

// §17: the variables of a request, which are always more than of-watchdog's, or none.
func TestOpenFaaS17Variables(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "env")
	head := "POST /a%20b?q=1 HTTP/1.1\r\nHost: pod:80\r\nX-A: 1\r\nQuery: evil\r\nContentLength: evil\r\nConnection: close\r\n"
	for framing, want := range map[string]string{"Content-Length: 2\r\n\r\nhi": "2", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n": "-1", "\r\n": "0"} {
		_, body := p.raw(head + framing)
		lines := strings.Split(body, "\n")
		for _, v := range []string{"Http_Method=POST", "Http_Path=/a b", "Http_Query=q=1", "Http_X_A=1", "Http_Host=pod:80", "Http_ContentLength=" + want, "Http_Content_Length=" + want} {
			require.Contains(t, lines, v)
		}
		require.NotContains(t, body, "Http_Query=evil")
		require.NotContains(t, body, "Http_ContentLength=evil")
	}
	p = ofClassic(t, "env", "cgi_headers=1", "OWN=1")
	_, body := p.raw(head + "\r\n")
	require.NotContains(t, body, "Http_", "1 is not true")
	require.Contains(t, body, "OWN=1\n", "the rest is inherited")
}

// §17: marshal_request gives the process the request as JSON.
func TestOpenFaaS17MarshalRequest(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "cat", "marshal_request=true", "max_buffer=200000")
	_, body := p.raw("POST / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\x00\xffa\r\n0\r\n\r\n")
	require.JSONEq(t, `{"header":{"X-A":["1","2"]},"body":{"raw":"AP9h"}}`, body)
	_, body = p.raw("GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n")
	require.JSONEq(t, `{"header":{"A":[""]},"body":{"raw":""}}`, body)
	large := strings.Repeat("x", 100_000)
	_, body = ofAsk(t, p, "POST", "/", large)
	require.Contains(t, body, `"raw":"`+base64.StdEncoding.EncodeToString([]byte(large))+`"`)
	resp, _ := ofAsk(t, p, "POST", "/", strings.Repeat("x", 200_001))
	require.Equal(t, 413, resp.StatusCode)
	resp, _ = ofAsk(t, p, "POST", "/", strings.Repeat("x", 180_000))
	require.Equal(t, 507, resp.StatusCode, "the output is larger")
}

// §17: what is printed for those who look for a fault.
func TestOpenFaaS17Debug(t *testing.T) {
	t.Parallel()
	p := ofClassic(t, "sh "+scriptFile(t, `cat; exit "${Http_Query:-0}"`), "write_debug=true", "debug_headers=true")
	_, body := ofAsk(t, p, "POST", "/", "an answer\n", "X-Seen: yes", "Content-Type: text/x-own")
	require.Equal(t, "an answer\n", body)
	has := func(pattern string) {
		t.Helper()
		require.Eventually(t, func() bool { return regexp.MustCompile(pattern).MatchString(p.log.String()) }, 10*time.Second, 5*time.Millisecond, pattern)
	}
	has(`(?m)^an answer$`)
	has(`(?m)^\[in\] X-Seen=\[yes\]$`)
	has(`(?m)^\[out\] Content-Type=\[text/x-own\]$`)
	has(`(?m)^\[out\] X-Duration-Seconds=\[\d+\.\d{6}\]$`)
	p.logged(`Duration: \d+\.\d{6}s`)
	_, _ = ofAsk(t, p, "POST", "/?4", "seen")
	p.logged(`the function failed .*exit status 4.* output=seen`)
}

// §18: what the environment says when nothing else does.
func TestOpenFaaS18WhichWatchdog(t *testing.T) {
	for _, test := range []struct {
		classic bool
		env     []string
	}{
		{false, []string{"fprocess=cat"}},
		{false, []string{"fprocess=cat", "cgi_headers=true"}},
		{true, []string{"fprocess=cat", "combine_output=true"}},
		{true, []string{"fprocess=cat", "write_debug=false", "cgi_headers=true"}},
		{false, []string{"fprocess=cat", "write_debug=false", "mode=streaming"}},
		{false, []string{"fprocess=cat", "write_debug=false", "prefix_logs=true"}},
		{true, []string{"fprocess=cat", "prefix_logs=true", "FNPOD_PLATFORM=openfaas-classic"}},
		{false, []string{"fprocess=cat", "write_debug=false", "FNPOD_PLATFORM=openfaas"}},
	} {
		t.Run(strings.Join(test.env, " "), func(t *testing.T) {
			t.Parallel()
			p := ofPod(t)
			env := p.cmd.Env[:0]
			for _, v := range p.cmd.Env {
				if !strings.HasPrefix(v, "mode=") && !strings.HasPrefix(v, "upstream_url=") && !strings.HasPrefix(v, "fprocess=") {
					env = append(env, v)
				}
			}
			p.cmd.Env = append(env, test.env...)
			p.begin()
			require.Eventually(t, func() bool { code, _ := p.get("/_/health"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
			resp, _ := ofAsk(t, p, "OPTIONS", "/", "")
			require.Equal(t, test.classic, resp.StatusCode == 405)
		})
	}
}

// §2, §24.8: with http_buffer_req_body the function gets a length, also of a body that comes in chunks.
func TestOpenFaaS2BufferedBodies(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"http_buffer_req_body=true", "buffer_http=1"} {
		p := ofWatchdog(t, setting, "max_buffer=300000")
		large := strings.Repeat("x", 150_000)
		_, body := p.raw("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n249f0\r\n" + large + "\r\n1\r\ny\r\n0\r\n\r\n")
		require.Contains(t, body, `["Content-Length", "150001"]`)
		require.NotContains(t, body, "Transfer-Encoding")
		require.Contains(t, body, large+"y")
		resp, _ := ofAsk(t, p, "POST", "/", large+large+"x")
		require.Equal(t, 413, resp.StatusCode)

		transport := &http.Transport{Protocols: new(http.Protocols)} // and over HTTP/2, where a body has no chunks
		transport.Protocols.SetUnencryptedHTTP2(true)
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.listen, struct{ io.Reader }{strings.NewReader(large)})
		require.NoError(t, err)
		resp, err = transport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), `["Content-Length", "150000"]`)
		transport.CloseIdleConnections()
	}
}
