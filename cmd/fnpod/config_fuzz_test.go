package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever stands on the command line and in the environment: settings or a usage error, every line of it printable
// as one line.
func FuzzCommandLine(f *testing.F) {
	f.Add("serve\x00/dev/null:f\x00--queue-limit\x00-5", "FNPOD_QUEUE_DEPTH=x")
	f.Add("check\x00run\x00--mode=x\x00--\x00ls", "FNPOD_ADMIN=off\x00FNPOD_LISTEN=unix:")
	f.Add("proxy\x00http://[::1]:1/\x00--max-body=1TiB\x00-h", "FNPOD_TIMEOUT=1h")
	f.Add("probe\x00unix:///x\x00--probe-timeout\x00", "=\x00FNPOD_")
	f.Fuzz(func(t *testing.T, args, environ string) {
		inv := &invocation{env: newEnvironment(strings.Split(environ, "\x00")), stdout: io.Discard, stderr: io.Discard}
		command, err := inv.command(strings.Split(args, "\x00"))
		if err == nil {
			require.NotNil(t, command)
			return
		}
		var usage *usageError
		if !errors.Is(err, errHelp) && !errors.As(err, &usage) {
			t.Fatalf("neither help nor usage: %v", err)
		}
		if usage != nil {
			require.NotEmpty(t, usage.lines)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "64KiB", "10MB", "-1k", "9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		again, err := parseSize(formatSize(n))
		require.NoError(t, err)
		require.Equal(t, n, again)
	})
}
