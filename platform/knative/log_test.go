package knative_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

// logged returns what becomes of a warning with settings as said, and how lines are written.
func logged(t *testing.T, changes ...string) (map[string]any, knative.Log) {
	t.Helper()
	s, err := knative.Read(controller(changes...))
	require.NoError(t, err)
	l := s.Log()
	var out bytes.Buffer
	slog.New(l.Handler(&out, s)).Warn("it is late", "err", errors.New("why"), "status", 502)
	m := map[string]any{}
	if out.Len() > 0 {
		require.NoError(t, json.Unmarshal(out.Bytes(), &m))
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")))
	}
	return m, l
}

const zapConfig = `SERVING_LOGGING_CONFIG={"level":"info","development":false,"outputPaths":["stdout"],"errorOutputPaths":["stderr"],"encoding":"json",` +
	`"encoderConfig":{"timeKey":"timestamp","levelKey":"severity","nameKey":"logger","callerKey":"caller","messageKey":"message",` +
	`"stacktraceKey":"stacktrace","lineEnding":"","levelEncoder":"","timeEncoder":"iso8601","durationEncoder":"","callerEncoder":""}}`

func TestKnative121LinesOfTheLog(t *testing.T) {
	for name, config := range map[string]string{"of the cluster": zapConfig, "without": "SERVING_LOGGING_CONFIG="} {
		t.Run(name, func(t *testing.T) {
			m, l := logged(t, config)
			require.Equal(t, config == zapConfig, l.Stdout)
			layout := time.RFC3339Nano
			if l.Stdout {
				layout = "2006-01-02T15:04:05.000Z"
			}
			stamp, err := time.Parse(layout, m["timestamp"].(string))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), stamp, time.Minute)
			require.Regexp(t, `^knative/log_test\.go:\d+$`, m["caller"])
			delete(m, "timestamp")
			delete(m, "caller")
			require.Equal(t, map[string]any{
				"severity": "WARN", "logger": "queueproxy", "message": "it is late", "error": "why", "status": 502.0,
				"knative.dev/key": "ns/svc-00001", "knative.dev/pod": "svc-00001-abc",
			}, m)
		})
	}
}

func TestKnative121KeysAreThoseOfTheConfig(t *testing.T) {
	m, l := logged(t, `SERVING_LOGGING_CONFIG={"level":"debug","outputPaths":["stderr"],"encoderConfig":{"timeKey":"ts","levelKey":"level","messageKey":"msg"}}`)
	require.Equal(t, slog.LevelDebug, l.Level)
	require.False(t, l.Stdout)
	require.InDelta(t, float64(time.Now().Unix()), m["ts"], 60)
	delete(m, "ts")
	require.Equal(t, map[string]any{
		"level": "warn", "msg": "it is late", "error": "why", "status": 502.0, "knative.dev/key": "ns/svc-00001", "knative.dev/pod": "svc-00001-abc",
	}, m)
}

func TestKnative2LoggingLevels(t *testing.T) {
	tests := []struct {
		name, level string
		want        slog.Level
	}{
		{"beats the config", "error", slog.LevelError},
		{"beats it, and is no less", "debug", slog.LevelDebug},
		{"a word that is none is ignored", "loud", slog.LevelInfo},
		{"empty", "", slog.LevelInfo},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, l := logged(t, zapConfig, "SERVING_LOGGING_LEVEL="+tt.level)
			require.Equal(t, tt.want, l.Level)
			require.Empty(t, l.Warning)
			require.Equal(t, tt.want > slog.LevelWarn, len(m) == 0)
		})
	}
}

func TestKnative21ALogConfigThatIsWrongIsAWarning(t *testing.T) {
	for config, warning := range map[string]string{
		"{":                      "SERVING_LOGGING_CONFIG: unexpected end of JSON input",
		`{"level":"loud"}`:       `SERVING_LOGGING_CONFIG: level "loud": is none of zap's`,
		`{"encoding":"console"}`: `SERVING_LOGGING_CONFIG: encoding "console": is not there; lines are JSON`,
	} {
		_, l := logged(t, "SERVING_LOGGING_CONFIG="+config)
		require.Equal(t, warning, l.Warning)
		require.Equal(t, slog.LevelInfo, l.Level)
	}
}
