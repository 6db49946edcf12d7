package wrapper_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// single runs a handler of Kubeless in a process for one request, and returns what it answered and what it logged.
func single(t *testing.T, handler string, request []byte) (answer, log []byte, err error) {
	t.Helper()
	dir := t.TempDir()
	file, program := filepath.Join(dir, "module.py"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(file, []byte(handler), 0o600))
	require.NoError(t, os.WriteFile(program, []byte(wrapper.PythonSingle(wrapper.Kubeless)), 0o600))
	path, err := python.interpreter()
	require.NoError(t, err)
	cmd := exec.Command(path, program)
	cmd.Env = []string{"FNPOD_WORKER_HANDLER=" + file + ":handler", "LANG=C.UTF-8"}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), &stderr
	answer, err = cmd.Output()
	return answer, stderr.Bytes(), err
}

// cut takes the frame of an answer apart, whose body goes on to the end.
func cut(t *testing.T, b []byte) frame {
	t.Helper()
	require.GreaterOrEqual(t, len(b), 16, "%q", b)
	end := 16 + int(binary.LittleEndian.Uint32(b))
	f := frame{kind: b[8], flags: b[9], code: binary.LittleEndian.Uint16(b[10:]), meta: string(b[16:end]), body: b[end:]}
	if size := int(binary.LittleEndian.Uint32(b[4:])); f.flags&fMore == 0 {
		require.Len(t, f.body, size)
	}
	return f
}

// Kubeless contract PY19 to PY25, where each call has a process.
func TestKubelessPY19PythonReturnsFromASingleProcess(t *testing.T) {
	t.Parallel()
	for _, c := range pythonReturns {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, log, err := single(t, pythonPrelude+"def handler(event, context):\n  print('printed')\n  return "+c.result+"\n", get(1).bytes())
			require.NoError(t, err, "%s", log)
			a := cut(t, b)
			require.Contains(t, string(log), "printed\n", "what is printed is no answer")
			if c.status == 0 {
				require.Equal(t, byte(tError), a.kind)
				require.Contains(t, string(log), "Function returned an exception: ", "PY25")
				return
			}
			require.Equal(t, byte(tResponse), a.kind, "%s", log)
			require.Equal(t, c.status, a.code)
			require.Equal(t, c.contentType, a.pair("content-type"))
			require.Equal(t, c.body, string(a.body))
		})
	}
}

// Kubeless contract PY16 to PY18: what happens in a process for one request.
func TestKubelessPY17SinglePythonProcesses(t *testing.T) {
	t.Parallel()
	ask := func(t *testing.T, body string, size int) (frame, string, error) {
		t.Helper()
		b, log, err := single(t, "import os, sys, subprocess\ndef handler(event, context):\n"+body, append(request(1, "POST", "/", "", nil).bytes(), make([]byte, size)...))
		if err != nil && len(b) < 16 {
			return frame{}, string(log), err
		}
		return cut(t, b), string(log), err
	}
	t.Run("a body to the end", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  return str(len(event['data']))", 5<<20)
		require.NoError(t, err)
		require.Equal(t, "5242880", string(a.body))
	})
	t.Run("issue 48: an answer larger than a pipe", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  return b'x' * (5 << 20)", 0)
		require.NoError(t, err)
		require.Len(t, a.body, 5<<20)
	})
	t.Run("a generator", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  return (str(i) for i in range(3))", 0)
		require.NoError(t, err)
		require.Equal(t, byte(fMore), a.flags)
		require.Equal(t, "012", string(a.body))
	})
	t.Run("a generator that fails at once", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  return (1 // i for i in range(3))", 0)
		require.NoError(t, err)
		require.Equal(t, byte(tError), a.kind)
		require.Equal(t, "ZeroDivisionError", a.pair("type"))
	})
	t.Run("a generator that fails later", func(t *testing.T) {
		t.Parallel()
		a, log, err := ask(t, "  return (str(1 // (1 - i)) for i in range(3))", 0)
		require.Error(t, err, "so that the answer is cut")
		require.Equal(t, "1", string(a.body))
		require.Contains(t, log, "ZeroDivisionError")
	})
	t.Run("programs that it starts do not speak for it", func(t *testing.T) {
		t.Parallel()
		a, log, err := ask(t, "  subprocess.run(['echo', 'from a program'])\n  os.system('echo from a shell')\n  return 'answer'", 0)
		require.NoError(t, err)
		require.Equal(t, "answer", string(a.body))
		require.Contains(t, log, "from a program\nfrom a shell\n")
	})
	t.Run("exit", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  sys.exit('bye')", 0)
		require.NoError(t, err)
		require.Equal(t, "SystemExit", a.pair("type"))
	})
	t.Run("the end of the process", func(t *testing.T) {
		t.Parallel()
		_, _, err := ask(t, "  os._exit(3)", 0)
		require.ErrorContains(t, err, "exit status 3")
	})
	t.Run("a variable of ours", func(t *testing.T) {
		t.Parallel()
		a, _, err := ask(t, "  return str([k for k in os.environ if k.startswith('FNPOD')])", 0)
		require.NoError(t, err)
		require.Equal(t, "[]", string(a.body))
	})
}

// Kubeless contract PY1: a module that cannot be imported, and a function that is not there, are the end.
func TestKubelessPY1SinglePythonProcessesThatCannotStart(t *testing.T) {
	t.Parallel()
	for module, tells := range map[string]string{
		"raise ValueError('at import')": "ValueError: at import",
		"def other(event, context): 1":  "module.py has no function 'handler'; it has other",
		"def":                           "SyntaxError",
	} {
		b, log, err := single(t, module, get(1).bytes())
		require.Error(t, err)
		require.Empty(t, b)
		require.Contains(t, string(log), tells)
	}
	require.Empty(t, wrapper.PythonSingle(wrapper.Native))
}
