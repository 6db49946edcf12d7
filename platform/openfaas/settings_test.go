package openfaas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/openfaas"
)

// read reads settings given as NAME=VALUE.
func read(environ ...string) (*openfaas.Settings, error) {
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return openfaas.Read(func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
}

func good(t *testing.T, environ ...string) *openfaas.Settings {
	t.Helper()
	s, err := read(append([]string{"fprocess=cat"}, environ...)...)
	require.NoError(t, err)
	return s
}

// §2: the defaults of every setting.
func TestDefaults(t *testing.T) {
	s := good(t)
	require.Equal(t, &openfaas.Settings{
		Process: []string{"cat"}, Mode: "streaming", Port: 8080, MetricsPort: 8081,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, ExecTimeout: 30 * time.Second, HealthInterval: 30 * time.Second,
		MaxBuffer:   256 << 20,
		ContentType: "application/octet-stream", StaticPath: "/home/app/public", LockFile: "/tmp/.lock", PrefixLogs: true, LogLineBytes: 65536,
	}, s)
}

// §2: seconds or a Go duration; what is neither is the default, without an error.
func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5": 5 * time.Second, "1m30s": 90 * time.Second, "700ms": 700 * time.Millisecond, "0": 0, "0s": 0,
		"": 30 * time.Second, "soon": 30 * time.Second, "-5": 30 * time.Second, "-1s": 30 * time.Second, "1.5": 30 * time.Second,
	} {
		s := good(t, "exec_timeout="+text)
		require.Equal(t, want, s.ExecTimeout, text)
		require.Equal(t, text != "" && want == 30*time.Second, len(s.Warnings) == 1, text)
	}
	require.Equal(t, 7*time.Second, good(t, "write_timeout=7").HealthInterval, "it follows write_timeout")
	require.Equal(t, time.Duration(0), good(t, "write_timeout=7", "healthcheck_interval=0").HealthInterval)
}

// §2: what is yes depends on the setting.
func TestSwitches(t *testing.T) {
	for text, strict := range map[string]bool{"true": true, "1": true, "True": false, "yes": false, "t": false, "": false, "false": false} {
		require.Equal(t, strict, good(t, "suppress_lock="+text).LockFile == "", text)
		require.Equal(t, strict, good(t, "http_buffer_req_body="+text).BufferBody, text)
		require.Equal(t, strict, good(t, "buffer_http="+text).BufferBody, text)
	}
	for text, loose := range map[string]bool{"True": true, "t": true, "F": false, "0": false, "what": true, "": true} {
		require.Equal(t, loose, good(t, "prefix_logs="+text).PrefixLogs, text)
	}
	require.True(t, good(t, "log_callid=T").LogCallID)
	require.True(t, good(t, "log_call_id=true").LogCallID)
	require.False(t, good(t, "log_callid=what").LogCallID)
}

// §2: two names for one thing, and who wins.
func TestAliases(t *testing.T) {
	require.Equal(t, []string{"b"}, good(t, "function_process=b").Process)
	_, err := read("fprocess=a", "function_process=")
	require.ErrorContains(t, err, `function_process "": must be the command line`)
	s := good(t, "mode=http", "upstream_url=http://127.0.0.1:1", "http_upstream_url=http://127.0.0.1:2/base")
	require.Equal(t, "http://127.0.0.1:2/base", s.Upstream.String())
}

// §3: the command line is cut at every space.
func TestCommandLine(t *testing.T) {
	require.Equal(t, []string{"sh", "-c", "\"echo", "", "hi\""}, good(t, `fprocess=sh -c "echo  hi"`).Process)
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]int{"": 0, "5": 5, "-1": 0, "x": 0} {
		require.Equal(t, want, good(t, "max_inflight="+text).MaxInflight, text)
	}
	require.Equal(t, 0, good(t, "port=0").Port)
	require.Equal(t, -1, good(t, "log_buffer_size=-1").LogLineBytes)
	require.Equal(t, "/run/.lock", good(t, "TMPDIR=/run").LockFile)
	require.Empty(t, good(t, "content_type=").ContentType)
}

// §2: what cannot be used ends the start, all of it at once, with the way out.
func TestBadSettings(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    string
	}{
		{nil, `fprocess "": must be the command line of the function`},
		{[]string{"fprocess=cat", "mode=afterburn"}, `mode "afterburn": must be http, streaming, serializing or static`},
		{[]string{"fprocess=cat", "mode=HTTP"}, `mode "HTTP": must be`},
		{[]string{"fprocess=cat", "mode=inproc"}, `mode "inproc": is for functions that link the watchdog`},
		{[]string{"fprocess=cat", "mode=http"}, `upstream_url "": must be the function's address`},
		{[]string{"fprocess=cat", "mode=http", "upstream_url=127.0.0.1:80"}, `upstream_url "127.0.0.1:80": must be`},
		{[]string{"fprocess=cat", "port=abc"}, `port "abc": must be a number`},
		{[]string{"fprocess=cat", "port=70000"}, `port "70000": must be a number`},
		{[]string{"fprocess=cat", "write_timeout=0"}, `write_timeout "0": must be more than 0`},
		{[]string{"mode=static", "static_path="}, `static_path "": must be a directory`},
		{[]string{"fprocess=cat", "log_buffer_size="}, `log_buffer_size "": must be a number of bytes`},
	} {
		_, err := read(test.environ...)
		require.ErrorContains(t, err, test.want)
	}
	_, err := read("mode=x", "port=y")
	require.Len(t, strings.Split(err.Error(), "\n"), 3)
}

func TestStaticNeedsNoProcess(t *testing.T) {
	s, err := read("mode=static")
	require.NoError(t, err)
	require.Empty(t, s.Process)
}

func classic(t *testing.T, environ ...string) *openfaas.Settings {
	t.Helper()
	env := map[string]string{"fprocess": "cat"}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	s, err := openfaas.ReadClassic(func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
	require.NoError(t, err)
	return s
}

// §17: the defaults of the classic watchdog, which has no limit of time.
func TestClassicDefaults(t *testing.T) {
	require.Equal(t, &openfaas.Settings{
		Process: []string{"cat"}, Mode: "classic", Port: 8080, MetricsPort: 8081,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, HealthInterval: 30 * time.Second, MaxBuffer: 256 << 20,
		LockFile: "/tmp/.lock", PrefixLogs: true, LogLineBytes: 65536, Classic: &openfaas.Classic{CombineOutput: true, CGI: true},
	}, classic(t))
}

// §17: true is the one word for yes; an empty text is the default; numbers are the default when they are none.
func TestClassicWordsAndNumbers(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "": true, "1": false, "True": false, "yes": false, "false": false} {
		s := classic(t, "cgi_headers="+text, "combine_output="+text)
		require.Equal(t, want, s.Classic.CGI, text)
		require.Equal(t, want, s.Classic.CombineOutput, text)
		require.Equal(t, want && text != "", classic(t, "marshal_request="+text).Classic.Marshal, text)
		require.Equal(t, want && text != "", classic(t, "suppress_lock="+text).LockFile == "", text)
	}
	for text, want := range map[string]int{"9000": 9000, "abc": 8080, "-1": 8080, "": 8080} {
		require.Equal(t, want, classic(t, "port="+text).Port, text)
	}
	require.Equal(t, 0, classic(t, "max_inflight=-4").MaxInflight)
	require.Equal(t, 100_000, classic(t, "max_inflight=100000").MaxInflight)
	require.Equal(t, time.Duration(0), classic(t, "write_timeout=0").WriteTimeout, "allowed here")
	_, err := openfaas.ReadClassic(func(string) (string, bool) { return "", false })
	require.ErrorContains(t, err, "fprocess")
}

// Whatever the environment says, reading it ends well or with an error, and what is good can run.
func FuzzSettings(f *testing.F) {
	f.Add("http", "node index.js", "1m", "text/html", "http://127.0.0.1:3000", "8080")
	f.Add("streaming", "cat", "-1s", "", "http://[::1", "99999")
	f.Add("serializing", " ", "9999999999999", "a\nb", "unix:x", "-1")
	f.Fuzz(func(t *testing.T, mode, process, duration, contentType, url, number string) {
		env := map[string]string{
			"mode": mode, "fprocess": process, "exec_timeout": duration, "write_timeout": duration, "content_type": contentType,
			"upstream_url": url, "port": number, "log_buffer_size": number, "max_inflight": number, "max_buffer": number, "jwt_auth": mode,
		}
		lookup := func(name string) (string, bool) {
			v, ok := env[name]
			return v, ok
		}
		for _, read := range []func(func(string) (string, bool)) (*openfaas.Settings, error){openfaas.Read, openfaas.ReadClassic} {
			s, err := read(lookup)
			if err != nil {
				continue
			}
			require.NotNil(t, s)
			if s.Forks() {
				require.NoError(t, s.Fork().Validate())
			}
			if s.Mode == openfaas.ModeHTTP {
				_ = s.Prefix()
			}
		}
	})
}
