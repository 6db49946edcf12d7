package watchdog_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// environment returns the variables that a process sees, or why none was started.
func environment(t *testing.T, c watchdog.ForkConfig, x *exchange) (map[string]string, error) {
	t.Helper()
	f := forks(t, c)
	if err := f.Do(x); err != nil {
		require.Zero(t, f.Stats().Starts, "a process was started")
		return nil, err
	}
	env := map[string]string{}
	for entry := range strings.SplitSeq(x.answer.String(), "\n") {
		name, value, _ := strings.Cut(entry, "=")
		require.NotContains(t, env, name, "twice in the environment")
		env[name] = value
	}
	return env, nil
}

func variables(t *testing.T) watchdog.ForkConfig { return function(t, watchdog.Streaming, "variables") }

func TestVariablesOfCGI(t *testing.T) {
	x := newExchange("PUT /a%20b//../c?q=1&r=%20", "User-Agent: test", "Content-Type: text/plain", "X-Request-Id: spoofed", "X-Empty:")
	x.body = []byte("12345")
	x.request.Length, x.request.HasLength = 5, true
	env, err := environment(t, variables(t), x)
	require.NoError(t, err)
	require.NotEmpty(t, env[watchdog.Mark])
	delete(env, watchdog.Mark)
	require.Equal(t, map[string]string{
		roleVariable: "variables", "GORACE": "atexit_sleep_ms=0",
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "fnpod", "SERVER_PROTOCOL": "HTTP/1.1",
		"SERVER_NAME": "pod.example", "SERVER_PORT": "8080", "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1",
		"REQUEST_METHOD": "PUT", "REQUEST_URI": "/a%20b//../c?q=1&r=%20", "PATH_INFO": "/a b//../c", "QUERY_STRING": "q=1&r=%20",
		"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "5",
		"HTTP_HOST": "pod.example:8080", "HTTP_X_REQUEST_ID": "id-1", "HTTP_USER_AGENT": "test", "HTTP_X_EMPTY": "",
	}, env)
}

func TestE1FieldsStayWithinThePrefix(t *testing.T) {
	env, err := environment(t, variables(t), newExchange("GET /", "PATH: /evil", "LD-Preload: evil.so", "Od*d: 1", "With.Dot: 1", "Request-Method: EVIL", "-: 1"))
	require.NoError(t, err)
	require.NotContains(t, env, "PATH")
	require.NotContains(t, env, "LD_PRELOAD")
	require.Equal(t, "/evil", env["HTTP_PATH"])
	require.Equal(t, "evil.so", env["HTTP_LD_PRELOAD"])
	require.Equal(t, "GET", env["REQUEST_METHOD"])
	for name := range env {
		require.Regexp(t, `^[A-Z0-9_]+$`, name)
	}
}

func TestE2ProxyIsNeverAVariable(t *testing.T) {
	for _, spell := range []string{"Proxy", "proxy", "PROXY"} {
		env, err := environment(t, variables(t), newExchange("GET /", spell+": http://evil"))
		require.NoError(t, err)
		require.NotContains(t, env, "HTTP_PROXY")
		require.Equal(t, "GET", env["REQUEST_METHOD"])
	}
	c := variables(t)
	c.Env = append(c.Env, "HTTP_PROXY=http://ours")
	c.Variables = func(v *watchdog.Variables, x watchdog.Exchange) {
		v.Fields(x, "Http_", watchdog.Upper, nil)
	}
	env, err := environment(t, c, newExchange("GET /", "Proxy: http://evil", "X-A: 1"))
	require.NoError(t, err)
	require.Equal(t, "http://ours", env["HTTP_PROXY"], "what is configured stays")
	require.NotContains(t, env, "Http_PROXY")
	require.Equal(t, "1", env["Http_X_A"])
}

func TestE3CollisionsAreJoinedOrDropped(t *testing.T) {
	c := variables(t)
	c.Credentials = true
	env, err := environment(t, c, newExchange("GET /", "X-A: 1", "x-a: 2", "X_A: 3", "X-a: 4", "Content-Type: a", "Content-Type: b",
		"Content-Language: a", "content-language: b", "Cookie: a=1", "Cookie: b=2"))
	require.NoError(t, err)
	require.Equal(t, "1, 2, 4", env["HTTP_X_A"])
	require.Equal(t, "a=1; b=2", env["HTTP_COOKIE"])
	require.NotContains(t, env, "CONTENT_TYPE")
	require.NotContains(t, env, "HTTP_CONTENT_LANGUAGE")
}

// What the operator has set wins over a field, and loses to what we say of the request.
func TestE3ConfiguredVariablesAreNotReplacedByFields(t *testing.T) {
	c := variables(t)
	c.Env = append(c.Env, "HTTP_LIMIT=ours", "REQUEST_METHOD=ours", "A=1", "A=2")
	env, err := environment(t, c, newExchange("GET /", "Limit: evil"))
	require.NoError(t, err)
	require.Equal(t, "ours", env["HTTP_LIMIT"])
	require.Equal(t, "GET", env["REQUEST_METHOD"])
	require.Equal(t, "2", env["A"])
}

func TestE4VariablesAreBounded(t *testing.T) {
	long := strings.Repeat("v", 16<<10)
	env, err := environment(t, variables(t), newExchange("GET /", "X-Long: "+long))
	require.NoError(t, err)
	require.Equal(t, long, env["HTTP_X_LONG"])

	_, err = environment(t, variables(t), newExchange("GET /", "X-Long: "+long+"v"))
	require.ErrorIs(t, err, watchdog.ErrVariables)
	_, err = environment(t, variables(t), newExchange("GET /", "X-Half: "+long[1:], "X-half: 1"))
	require.ErrorIs(t, err, watchdog.ErrVariables, "joined")
	_, err = environment(t, variables(t), newExchange("GET /", "A: "+long, "B: "+long, "C: "+long, "D: "+long))
	require.ErrorIs(t, err, watchdog.ErrVariables, "all together")
}

// Encoded control bytes could not be in a variable, or would be another line of it.
func TestE4PathsWithControlBytesAreRefused(t *testing.T) {
	for _, path := range []string{"/%00", "/a%0ab", "/%7f", "/%", "/%1", "/%zz"} {
		_, err := environment(t, variables(t), newExchange("GET "+path))
		require.ErrorIs(t, err, watchdog.ErrPath, path)
	}
	env, err := environment(t, variables(t), newExchange("GET /%C3%bc%252F?%00"))
	require.NoError(t, err)
	require.Equal(t, "/ü%2F", env["PATH_INFO"])
	require.Equal(t, "%00", env["QUERY_STRING"])
}

func TestE5CredentialsAreVariablesOnlyWhenConfigured(t *testing.T) {
	fields := []string{"Authorization: Bearer secret", "Cookie: session=secret", "Proxy-Authorization: secret"}
	env, err := environment(t, variables(t), newExchange("GET /", fields...))
	require.NoError(t, err)
	for name, value := range env {
		require.NotContains(t, value, "secret", name)
	}
	c := variables(t)
	c.Credentials = true
	env, err = environment(t, c, newExchange("GET /", fields...))
	require.NoError(t, err)
	require.Equal(t, "Bearer secret", env["HTTP_AUTHORIZATION"])
	require.Equal(t, "session=secret", env["HTTP_COOKIE"])
	require.NotContains(t, env, "HTTP_PROXY_AUTHORIZATION")
}

// A process gets what is configured, not our environment.
func TestE6TheEnvironmentIsTheConfiguredOne(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "1")
	env, err := environment(t, variables(t), newExchange("GET /"))
	require.NoError(t, err)
	require.NotContains(t, env, "SECRET_OF_OURS")
}

// Arguments come from the configuration alone.
func TestE7NothingOfARequestIsAnArgument(t *testing.T) {
	c := function(t, watchdog.Streaming, "print", "$(id)", "a b")
	c.Output = new(forkLog).add
	f := forks(t, c)
	x := newExchange("GET /$(reboot)?;reboot", "X: `reboot`")
	require.NoError(t, f.Do(x))
	require.Equal(t, "$(id)\na b\n", x.answer.String())
}
