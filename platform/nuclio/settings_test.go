package nuclio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/nuclio"
)

func nothing(string) (string, bool) { return "", false }

// §2.2: kinds and defaults; what a row does not name is as the original has it.
func TestNuclio22Triggers(t *testing.T) {
	t.Parallel()
	c, err := nuclio.ParseConfig([]byte(`
spec:
  runtime: python:3.9
  triggers:
    b: {kind: http, url: ":9", workerAvailabilityTimeoutMilliseconds: -1, workerAllocatorName: pool, disabled: true, attributes: {MAXREQUESTBODYSIZE: "7", ingresses: {}}}
    a: {kind: http, numWorkers: 3, maxWorkers: 9, workerAllocatorName: pool, name: other, workerAvailabilityTimeoutMilliseconds: 0}
    c: {kind: cron, attributes: {interval: 500ms}}
`))
	require.NoError(t, err)
	s, err := nuclio.Read(c, nuclio.Platform{}, nothing)
	require.NoError(t, err)
	require.Equal(t, "python", s.Runtime)
	require.Len(t, s.Triggers, 3)
	a, b := s.Triggers[0], s.Triggers[1]
	require.Equal(t, []any{"a", ":8080", 3, 0.0, int64(4 << 20), 16384}, []any{a.Name, a.Address, a.Workers, a.Wait.Seconds(), a.MaxBody, a.HeadBytes})
	require.Equal(t, []any{"b", ":9", 3, 10.0, int64(7)}, []any{b.Name, b.Address, b.Workers, b.Wait.Seconds(), b.MaxBody})
	require.Equal(t, ":8081", s.WebAdmin)
	require.Equal(t, ":8082", s.HealthCheck)
	require.Empty(t, s.Series)
	require.Len(t, s.Warnings, 1)

	kube := func(name string) (string, bool) {
		v, ok := map[string]string{"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}[name]
		return v, ok
	}
	p, err := nuclio.ParsePlatform([]byte("cronTriggerCreationMode: kube\nwebAdmin: {enabled: false}\n"))
	require.NoError(t, err)
	s, err = nuclio.Read(c, p, kube)
	require.NoError(t, err)
	require.Len(t, s.Triggers, 2, "2.3: Kubernetes has the clock")
	require.True(t, s.Kube, "P6")
	require.Empty(t, s.WebAdmin)
}

// What is in the files may be anything.
func FuzzSettings(f *testing.F) {
	f.Add([]byte("spec: {runtime: python, triggers: {a: {kind: http, attributes: {cors: {enabled: true, allowOrigins: [x]}}}}}"), []byte("logger: {functions: [{level: x}]}"))
	f.Add([]byte("spec: {runtime: shell, triggers: {a: {kind: cron, attributes: {schedule: \"* * * * *\", event: {headers: {a: 5}}}}}}"), []byte("metrics: {sinks: {a: {kind: prometheusPull}}, functions: [a]}"))
	f.Add([]byte("spec: {runtime: python, triggers: {a: {kind: nats, url: \"nats://u:p@h\", attributes: {topic: a, queueName: \"{{.Name}}\"}}}}"), []byte(""))
	f.Add([]byte("spec: {runtime: python, triggers: {a: {kind: mqtt, url: \"h:1\", attributes: {subscriptions: [{topic: a/#, qos: 1}], cleanSession: false, clientID: x}}}}"), []byte(""))
	f.Fuzz(func(_ *testing.T, config, platform []byte) {
		c, err := nuclio.ParseConfig(config)
		if err != nil {
			return
		}
		p, err := nuclio.ParsePlatform(platform)
		if err != nil {
			return
		}
		if s, err := nuclio.Read(c, p, nothing); err == nil {
			_, _ = s.NewShell("/nowhere") // it must not panic
		}
	})
}

// §2.1, §2.3: which sinks there are, and from which level on.
func TestNuclio23LogSinks(t *testing.T) {
	t.Parallel()
	const sinks = "logger: {sinks: {out: {kind: stdout, attributes: {encoding: json, timeFieldName: at, varGroupName: more}}, other: {kind: stdout}, cloud: {kind: appinsights}}, functions: [{level: warning, sink: out}]}"
	for _, test := range []struct {
		own, platform string
		want          []string // encoding and level of each
		err           string
	}{
		{"", "", []string{"console DEBUG"}, ""},
		{"", sinks, []string{"json WARN"}, ""},
		{"[{level: error}]", sinks, []string{"json ERROR"}, ""},
		{"[{level: info, sink: other}, {level: what, sink: out}]", sinks, []string{"console INFO", "json DEBUG"}, ""},
		{"[{sink: none}]", sinks, nil, "there is no such sink"},
		{"[{sink: cloud}]", sinks, nil, "appinsights"},
	} {
		c, err := nuclio.ParseConfig([]byte("spec: {runtime: python, loggerSinks: " + test.own + "}"))
		require.NoError(t, err)
		p, err := nuclio.ParsePlatform([]byte(test.platform))
		require.NoError(t, err)
		s, err := nuclio.Read(c, p, nothing)
		if test.err != "" {
			require.ErrorContains(t, err, test.err)
			continue
		}
		require.NoError(t, err)
		var got []string
		for _, sink := range s.Sinks {
			got = append(got, map[bool]string{true: "json", false: "console"}[sink.JSON]+" "+sink.Level.String())
		}
		require.Equal(t, test.want, got)
	}
}
