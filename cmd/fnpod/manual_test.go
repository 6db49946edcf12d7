package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestManualIsUpToDate(t *testing.T) {
	const name = "../../docs/configuration.md"
	var want bytes.Buffer
	require.NoError(t, writeManual(&want))
	if *update {
		require.NoError(t, os.WriteFile(name, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got), "run: make docs")
}
