package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// OpenFaaS contract §19, §20: where templates have their handlers, and how many workers run them.
func TestOpenFaaS20HandlersAreFoundWhereTemplatesHaveThem(t *testing.T) {
	for _, c := range []struct {
		file, contract string
		least          int
	}{
		{"function/handler.py", "openfaas-flask", 4},
		{"function/handler.js", "openfaas-http", 4},
		{"function/handler.rb", "openfaas-http", 4},
		{"function/src/Handler.php", "openfaas-classic", 4},
		{"function-1.0/function-1.0.jar", "openfaas-http", 1},
	} {
		home := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(home, c.file)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(home, c.file), nil, 0o600))
		t.Chdir(home)
		inv := &invocation{env: newEnvironment([]string{"FNPOD_CONTRACT=" + c.contract}), stdout: io.Discard, stderr: io.Discard}
		command, err := openFaaSWorkers(inv)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(home, c.file), command.Handler.File)
		require.Equal(t, poolSize(max(c.least, runtime.GOMAXPROCS(0))), command.Workers.Max)
	}
}
