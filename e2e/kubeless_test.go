package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Kubeless PY11, PY15, PY21, PY25: an unmodified handler behind the built binary.
func TestKubelessPY11PythonHandlerInWarmWorkers(t *testing.T) {
	t.Parallel()
	const handler = `
def hello(event, context):
    if event['data'] == b'raise':
        raise ValueError('the secret reason')
    return {'data': event['data']['name'], 'id': event['event-id'], 'name': context['function-name'], 'q': event['extensions']['request'].query.get('q')}
`
	p := start(t, "serve", handlerFile(t, "module.py", handler)+":hello", "--contract", "kubeless")
	r, body := ofAsk(t, p, "POST", "/any?q=1", `{"name": "pod"}`, "Content-Type: application/json", "event-id: i")
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"data": "pod", "id": "i", "name": "hello", "q": "1"}`, body)
	r, body = p.do("POST", "/", []byte("raise"))
	require.Equal(t, 500, r.StatusCode)
	require.NotContains(t, body, "secret")
	r, _ = p.do("OPTIONS", "/", nil)
	require.Equal(t, 405, r.StatusCode)
}

// Kubeless N7, N12, N17: a handler that returns, and one that writes its response.
func TestKubelessN17NodeHandlerInWarmWorkers(t *testing.T) {
	t.Parallel()
	const handler = `
module.exports = {
  hello: async (event, context) => {
    if (event.data === 'write') return void event.extensions.response.status(201).send('written');
    return {data: event.data, name: context['function-name']};
  },
};`
	p := start(t, "serve", handlerFile(t, "module.js", handler)+":hello", "--contract", "kubeless")
	r, body := ofAsk(t, p, "POST", "/", `{"a": 1}`, "Content-Type: application/json; charset=utf-8")
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"data": {"a": 1}, "name": "hello"}`, body)
	r, body = p.do("POST", "/", []byte("write"))
	require.Equal(t, 201, r.StatusCode)
	require.Equal(t, "written", body)
	r, _ = ofAsk(t, p, "OPTIONS", "/", "", "Access-Control-Request-Method: PUT")
	require.Equal(t, "PUT", r.Header.Get("Access-Control-Allow-Methods"))
}
