package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// row finds the line of a setting and returns its other columns.
func row(t *testing.T, table, setting string) []string {
	t.Helper()
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == setting {
			return fields[1:]
		}
	}
	t.Fatalf("no setting %s in:\n%s", setting, table)
	return nil
}

func TestCheckPrintsValuesWithTheirOrigin(t *testing.T) {
	file := handlerFile(t)
	got := fnpod(t, []string{"FNPOD_QUEUE_DEPTH=7", "FNPOD_MAX_BODY=10MiB", "FNPOD_ACCESS_LOG=1"},
		"check", "serve", file+":main", "--queue-max-wait", "90s", "--workers-max=4", "--access-log=no")
	require.Zero(t, got.code, got.stderr)
	require.Empty(t, got.stderr)
	require.Equal(t, []string{file + ":main", "argument"}, row(t, got.stdout, "handler"))
	require.Equal(t, []string{":8080", "default"}, row(t, got.stdout, "listen"))
	require.Equal(t, []string{"7", "variable", "FNPOD_QUEUE_DEPTH"}, row(t, got.stdout, "queue-depth"))
	require.Equal(t, []string{"10MiB", "variable", "FNPOD_MAX_BODY"}, row(t, got.stdout, "max-body"))
	require.Equal(t, []string{"1m30s", "flag", "--queue-max-wait"}, row(t, got.stdout, "queue-max-wait"))
	require.Equal(t, []string{"4", "flag", "--workers-max"}, row(t, got.stdout, "workers-max"))
	require.Equal(t, []string{"(by", "language)", "default"}, row(t, got.stdout, "workers-interpreter"))
	require.Equal(t, []string{"(none)", "default"}, row(t, got.stdout, "tls-cert"))
	require.Equal(t, []string{"false", "flag", "--access-log"}, row(t, got.stdout, "access-log"))
}

func TestCheckShowsABadValueAsGivenAndExitsTwo(t *testing.T) {
	got := fnpod(t, []string{"FNPOD_QUEUE_DEPTH=many"}, "check", "proxy", "http://127.0.0.1:1")
	require.Equal(t, exitUsage, got.code)
	require.Equal(t, []string{"many", "variable", "FNPOD_QUEUE_DEPTH,", "cannot", "be", "used"}, row(t, got.stdout, "queue-depth"))
	require.Equal(t, "fnpod: queue-depth \"many\" (variable FNPOD_QUEUE_DEPTH): must be a whole number\n", got.stderr)
}

func TestCheckWithoutCommandShowsTheSettingsOfAll(t *testing.T) {
	got := fnpod(t, []string{"FNPOD_WORKERS_MAX=3", "FNPOD_RESTART=always"}, "check")
	require.Zero(t, got.code, got.stderr)
	require.Equal(t, []string{"3", "variable", "FNPOD_WORKERS_MAX"}, row(t, got.stdout, "workers-max"))
	require.Equal(t, []string{"always", "variable", "FNPOD_RESTART"}, row(t, got.stdout, "restart"))
	require.Equal(t, []string{"5", "flag", "--queue-limit"}, row(t, fnpod(t, nil, "check", "--queue-limit=5").stdout, "queue-limit"))
}

func TestCheckHasHelpOfItsOwn(t *testing.T) {
	got := fnpod(t, nil, "check", "--help")
	require.Zero(t, got.code)
	require.Contains(t, got.stdout, "Usage: fnpod check <command>")
	require.Contains(t, fnpod(t, nil, "check", "serve", "--help").stdout, "--workers-max")
}
