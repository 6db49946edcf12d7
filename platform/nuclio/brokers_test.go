package nuclio_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
	"github.com/fnpod/fnpod/platform/nuclio"
)

// read reads a function with one trigger, called t.
func read(t *testing.T, trigger string) (*nuclio.Settings, error) {
	t.Helper()
	c, err := nuclio.ParseConfig([]byte("metadata: {name: fn, namespace: ns, labels: {team: blue}, annotations: {a: b}}\nspec:\n  runtime: python\n  triggers:\n    t: " + trigger + "\n"))
	require.NoError(t, err)
	return nuclio.Read(c, nuclio.Platform{}, nothing)
}

// §2.2: attributes of the kinds nats and mqtt.
func TestNuclio22BrokerTriggers(t *testing.T) {
	t.Parallel()
	for trigger, want := range map[string]broker.NATSConfig{
		`{kind: nats, url: "nats://h", attributes: {topic: a.b}}`:                                                              {Server: broker.Server{Address: "h:4222"}, Topic: "a.b", Queue: "ns.fn-t"},
		`{kind: nats, url: "nats://u:p@h:1", attributes: {TOPIC: "a.>", queueName: "{{ .Namespace }}.{{ .Name }}.{{ .Id }}"}}`: {Server: broker.Server{Address: "h:1", User: "u", Password: "p"}, Topic: "a.>", Queue: "ns.fn.t"},
		`{kind: nats, url: "nats://tok@h", attributes: {topic: a, queueName: "{{.Labels.team}}-{{.Annotations.a}}"}}`:          {Server: broker.Server{Address: "h:4222"}, Token: "tok", Topic: "a", Queue: "blue-b"},
		`{kind: nats, url: "nats://h", username: u, password: p, attributes: {topic: a, queueName: q}}`:                        {Server: broker.Server{Address: "h:4222", User: "u", Password: "p"}, Topic: "a", Queue: "q"},
	} {
		s, err := read(t, trigger)
		require.NoError(t, err, trigger)
		got := *s.Triggers[0].NATS
		require.NotNil(t, got.Roots)
		want.Name, got.Roots = "fn", nil
		require.Equal(t, want, got, trigger)
	}
	subscriptions := []broker.Subscription{{Topic: "a/+", QoS: 0}, {Topic: "b/#", QoS: 2}}
	const attributes = "subscriptions: [{topic: a/+}, {Topic: b/#, QOS: 2}]"
	for trigger, want := range map[string]broker.MQTTConfig{
		`{kind: mqtt, url: "10.0.0.3:1883", attributes: {` + attributes + `}}`:                                              {Server: broker.Server{Address: "10.0.0.3:1883"}, Version: 4, Clean: true},
		`{kind: mqtt, url: "mqtt://[::1]", username: u, attributes: {clientID: c, protocolVersion: 3, ` + attributes + `}}`: {Server: broker.Server{Address: "[::1]:1883", User: "u"}, Version: 3, Clean: true, ClientID: "c"},
		`{kind: mqtt, url: "tcp://u:p@h:9", attributes: {clientid: c, cleanSession: false, ` + attributes + `}}`:            {Server: broker.Server{Address: "h:9", User: "u", Password: "p"}, Version: 4, ClientID: "c"},
	} {
		s, err := read(t, trigger)
		require.NoError(t, err, trigger)
		want.Subscriptions = subscriptions
		require.Equal(t, want, *s.Triggers[0].MQTT, trigger)
	}
	s, err := read(t, `{kind: mqtt, url: "mqtts://u:p@h", attributes: {`+attributes+`}}`)
	require.NoError(t, err)
	require.Equal(t, "h:8883", s.Triggers[0].MQTT.Address)
	require.NotNil(t, s.Triggers[0].MQTT.TLS)
	require.NotContains(t, string(s.Admin("GET", "/triggers", "").Body), ":p@", "§17: no passwords")
}

// §2.2: what cannot work is one line that names trigger and setting.
func TestNuclio22BadBrokerTriggers(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, test := range []struct{ trigger, want string }{
		{`{kind: nats}`, `trigger t: url "": must be SCHEME://HOST:PORT with one of the schemes nats, tls`},
		{`{kind: nats, url: "http://h"}`, `url "http://h"`},
		{`{kind: nats, url: "nats://u:secret@"}`, `url "nats://u:xxxxx@"`},
		{`{kind: nats, url: "nats://u:secret@h:x"}`, `url: invalid port`},
		{`{kind: nats, url: "nats://h"}`, `trigger t: attribute topic "": must be the name of a subject`},
		{`{kind: nats, url: "nats://h", attributes: {topic: "a b"}}`, `attribute topic "a b": must have no spaces`},
		{`{kind: nats, url: "nats://h", attributes: {topic: [a]}}`, `attribute topic: is no text`},
		{`{kind: nats, url: "nats://h", attributes: {topic: a, queueName: "{{.Name"}}`, `attribute queueName "{{.Name"`},
		{`{kind: nats, url: "nats://h", attributes: {topic: a, queueName: "a {{.Name}}"}}`, `which is "a fn": must have no spaces`},
		{`{kind: nats, url: "nats://h", batch: {mode: enable}, attributes: {topic: a}}`, `batch: only http`},
		{`{kind: nats, url: "tls://h", attributes: {topic: a, caFile: /nowhere}}`, `attribute caFile: open /nowhere`},
		{`{kind: nats, url: "tls://h", attributes: {topic: a, caFile: ` + empty + `}}`, `has no certificate`},
		{`{kind: mqtt, url: "ssl://h", attributes: {keyFile: ` + empty + `}}`, `attributes certFile and keyFile`},
		{`{kind: mqtt}`, `trigger t: url "": must be`},
		{`{kind: mqtt, url: "ws://h"}`, `url "ws://h": must be SCHEME://HOST:PORT with one of the schemes mqtt, mqtt+ssl, mqtts, ssl, tcp, tcps, tls`},
		{`{kind: mqtt, url: h}`, `attribute subscriptions: must be a list`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: []}}`, `attribute subscriptions: must be a list`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: [a]}}`, `number 1 has no topic`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: [{topic: [a]}]}}`, `number 1: attribute topic: is no text`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: [{topic: a, qos: 3}]}}`, `"a": qos: allowed are 0, 1 and 2`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: [{topic: a, qos: x}]}}`, `"a": qos: allowed are 0, 1 and 2`},
		{`{kind: mqtt, url: h, attributes: {subscriptions: [{topic: a#}]}}`, `"a#": topic: + stands for one level`},
		{`{kind: mqtt, url: h, attributes: {protocolVersion: 5}}`, `attribute protocolVersion 5: allowed are 3`},
		{`{kind: mqtt, url: h, attributes: {cleanSession: maybe}}`, `attribute cleanSession: is neither true nor false`},
		{`{kind: mqtt, url: h, attributes: {cleanSession: false}}`, `attribute clientID: is needed`},
		{`{kind: mqtt, url: h, attributes: {protocolVersion: 3}}`, `attribute clientID: is needed`},
		{`{kind: mqtt, url: h, password: secret}`, `password: needs a username`},
	} {
		_, err := read(t, test.trigger)
		require.ErrorContains(t, err, test.want, test.trigger)
		require.ErrorContains(t, err, "trigger t: ", test.trigger)
		require.NotContains(t, err.Error(), "secret", test.trigger)
		require.NotContains(t, err.Error(), "\n", test.trigger)
	}
}

// §2.2: kinds of the original that are not there are one line with the way out; others are not registered.
func TestNuclio22OtherBrokers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"kafka-cluster", "kafka", "rabbit-mq", "rabbitMq", "iotCoreMqtt", "kinesis", "eventhub", "pubsub", "v3ioStream", "v3ioItemPoller"} {
		_, err := read(t, "{kind: "+kind+"}")
		require.EqualError(t, err, `trigger t: kind "`+kind+`": is not there: there are http, cron, kickstart, nats, mqtt; other brokers speak to an http trigger through a connector such as KEDA's or Knative's`)
	}
	_, err := read(t, "{kind: smoke}")
	require.EqualError(t, err, `trigger t: kind "smoke": is not registered: there are http, cron, kickstart, nats, mqtt`)
}
