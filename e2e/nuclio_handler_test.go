package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nuclioHandler = `
import os, nuclio_sdk

def init_context(context):
    context.user_data.greeting = 'hello'

async def handler(context, event):
    if event.path == '/raise':
        raise ValueError('the secret reason')
    if event.path == '/die':
        os._exit(1)
    context.logger.info_with('called', path=event.path)
    return nuclio_sdk.Response(headers={'X-A': 'b'}, status_code=203,
                               body={context.user_data.greeting: event.body['name'] if event.body else event.fields.get('name')})
`

// Nuclio §8: an unmodified handler, with the SDK that is not installed, behind the built binary.
func TestNuclio8PythonHandlerInWarmWorkers(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", handlerFile(t, "function.py", nuclioHandler)+":handler", "--contract", "nuclio")
	r, body := p.do("GET", "/?name=pod", nil)
	require.Equal(t, 203, r.StatusCode)
	require.Equal(t, "b", r.Header.Get("X-A"))
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"hello": "pod"}`, body)
	r, body = ofAsk(t, p, "POST", "/a/../b", `{"name": "json"}`, "Content-Type: application/json")
	require.Equal(t, 203, r.StatusCode)
	require.JSONEq(t, `{"hello": "json"}`, body)
	require.Eventually(t, func() bool {
		return strings.Contains(p.log.String(), `"line":"called"`) && strings.Contains(p.log.String(), `"fields":{"path":"/b"}`)
	}, 10*time.Second, time.Millisecond)

	r, body = p.do("GET", "/raise", nil)
	require.Equal(t, 500, r.StatusCode)
	require.NotContains(t, body, "secret")
	r, _ = p.do("GET", "/die", nil)
	require.Equal(t, 502, r.StatusCode)
	code, _ := p.get("/")
	require.Equal(t, 203, code)
}

// handlerFile writes a handler and returns where it is.
func handlerFile(t *testing.T, name, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
	return path
}
