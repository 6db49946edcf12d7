package wrapper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// compile returns what the interpreter makes of the worker's source.
func compile(t *testing.T, contract string) string {
	t.Helper()
	path, err := python.interpreter()
	require.NoError(t, err)
	out, err := os.Create(filepath.Join(t.TempDir(), "compiled"))
	require.NoError(t, err)
	defer out.Close()
	cmd := exec.Command(path, "-I", "-S", "-c", wrapper.PythonCompiler)
	cmd.ExtraFiles = []*os.File{out, nil, nil, memory(t, "source", []byte(wrapper.Python(contract)))}
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	return string(b)
}

// What is compiled ahead runs in the place of the source, for each contract, plain and async handlers, answers and errors.
func TestPythonCompiledAhead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, contract, handler, function, want string }{
		{"native text", wrapper.Native, "def handle(req): return 'text'", "", "text"},
		{"native JSON", wrapper.Native, "def handle(req): return {'a': 1}", "", `{"a":1}`},
		{"native async", wrapper.Native, "async def handle(req): return {'a': 1}", "", `{"a":1}`},
		{"native error", wrapper.Native, "def handle(req): return 1 / 0", "", ""},
		{"OpenFaaS", wrapper.OpenFaaSHTTP, "def handle(event, context): return {'statusCode': 200, 'body': 'text'}", "", "text"},
		{"Flask", wrapper.OpenFaaSFlask, "def handle(body): return 'text'", "", "text"},
		{"classic", wrapper.OpenFaaSClassic, "def handle(text): return 'text'", "", "text\n"},
		{"Nuclio", wrapper.Nuclio, "def handler(context, event): return 'text'", "handler", "text"},
		{"Kubeless", wrapper.Kubeless, "def handler(event, context): return 'text'", "", "text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := python
			l.source = func(contract string) string { return compile(t, contract) }
			w := start(t, l, c.handler+"\n", options{contract: c.contract, function: c.function})
			for id := range uint32(2) {
				a := w.ask(get(id + 1))
				if c.want == "" {
					require.Equal(t, byte(tError), a.kind)
					require.Contains(t, string(a.body), "ZeroDivisionError")
					require.NotContains(t, string(a.body), "<fnpod>", "its own frames are nobody's concern")
					continue
				}
				require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
				require.Equal(t, c.want, string(a.body))
			}
		})
	}
}
