package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// realBroker is a server of NATS or MQTT.
type realBroker struct {
	t       *testing.T
	address string
	path    string
	args    []string
	cmd     *exec.Cmd
}

// startBroker starts nats-server, or mosquitto with what it keeps in a file.
func startBroker(t *testing.T, name string) *realBroker {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name) // it is no user's
	}
	b := &realBroker{t: t, path: path, address: freePort(t)}
	host, port, _ := net.SplitHostPort(b.address)
	b.args = []string{"-a", host, "-p", port}
	if name == "mosquitto" {
		dir := t.TempDir()
		config := "listener " + port + " " + host + "\nallow_anonymous true\nmax_queued_messages 0\npersistence true\npersistence_location " + dir + "/\n"
		if os.Getuid() == 0 {
			config += "user root\n" // else it cannot write there
		}
		file := filepath.Join(dir, "mosquitto.conf")
		require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
		b.args = []string{"-c", file}
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *realBroker) start() {
	b.t.Helper()
	b.cmd = exec.Command(b.path, b.args...)
	require.NoError(b.t, b.cmd.Start())
	require.Eventually(b.t, func() bool {
		c, err := net.Dial("tcp", b.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 5*time.Millisecond, "the broker does not listen")
}

func (b *realBroker) stop() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = b.cmd.Wait()
}

// publishMQTT publishes lines, each as a message, and returns when the broker has all of them.
func (b *realBroker) publishMQTT(topic string, qos int, lines ...string) {
	b.t.Helper()
	host, port, _ := net.SplitHostPort(b.address)
	cmd := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-t", topic, "-q", strconv.Itoa(qos), "-l")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	require.NoError(b.t, err, string(out))
}

// publishNATS sends text of NATS' protocol, and returns when the server has read it.
func (b *realBroker) publishNATS(text string) {
	b.t.Helper()
	c, err := net.Dial("tcp", b.address)
	require.NoError(b.t, err)
	defer c.Close()
	_, err = io.WriteString(c, "CONNECT {\"verbose\":false,\"headers\":true}\r\n"+text+"PING\r\n")
	require.NoError(b.t, err)
	r := bufio.NewReader(c)
	for line := ""; line != "PONG\r\n"; {
		line, err = r.ReadString('\n')
		require.NoError(b.t, err)
		require.NotContains(b.t, line, "-ERR")
	}
}

// brokerTriggers are both, in a function's file.
func brokerTriggers(nats, mqtt *realBroker) string {
	return fmt.Sprintf("    n: {kind: nats, url: \"nats://%s\", attributes: {topic: \"a.*\"}}\n    m: {kind: mqtt, url: \"%s\", attributes: {subscriptions: [{topic: \"b/#\", qos: 1}]}}\n", nats.address, mqtt.address)
}

// said returns what follows a word on its line of the log, once it is there.
func (p *nuclioPod) said(word string) string {
	p.t.Helper()
	var rest string
	require.Eventually(p.t, func() bool {
		var found bool
		_, rest, found = strings.Cut(p.log.String(), word)
		var whole bool
		rest, _, whole = strings.Cut(rest, "\n")
		return found && whole
	}, 20*time.Second, time.Millisecond, word)
	return rest
}

// §6: what events of brokers look like to each kind of function.
func TestNuclio6EventsOfBrokers(t *testing.T) {
	t.Parallel()
	nats, mqtt := startBroker(t, "nats-server"), startBroker(t, "mosquitto")
	wrapper, err := filepath.Abs("testdata/nuclio_wrapper.py")
	require.NoError(t, err)
	for name, spec := range map[string]nuclioSpec{
		"python": {files: py("def handler(context, event):", "    e = dict(event.__dict__, kind=event.trigger.kind, name=event.trigger.name, body=event.body.decode('latin-1'), year=event.timestamp.year)",
			"    del e['trigger'], e['timestamp']", "    import json", "    print('event-' + event.trigger.kind, json.dumps(e), flush=True)", "    return event.get_header('x-b') and 'ok'")},
		"shared": {files: py("def handler(context, event):", "    if event.trigger.kind != 'http': print('event-' + event.trigger.kind, event.path, context.trigger.name, flush=True)", "    return event.trigger.kind")},
		"bytes":  {files: py("def handler(context, event):", "    print('event-' + event.trigger.kind.decode(), event.path, event.headers, event.topic, event.url, flush=True)"), env: []string{"NUCLIO_PYTHON_DECODE_EVENT_STRINGS=no"}},
		"node": {runtime: "nodejs", handler: "handler.js:handler", files: map[string]string{"handler.js": "exports.handler = (context, event) => {\n  const { kind, name } = event.trigger;\n" +
			"  console.log('event-' + kind, JSON.stringify({ ...event, kind, name, trigger: undefined, timestamp: undefined, 'content-type': undefined, last_in_batch: false, body: event.body.toString('latin1'), year: event.timestamp.getFullYear() }));\n  context.callback('ok');\n};\n"}},
		"ruby": {runtime: "ruby", handler: "main:handler", files: map[string]string{"main.rb": "def handler(context, event)\n  e = event\n" +
			"  $stdout.puts \"event-#{e.trigger.kind} #{e.path} #{e.url} #{e.headers} #{e.body.b.inspect} #{e.timestamp.year > 2000} #{e.fields}\"\n  $stdout.flush\n  'ok'\nend\n"}},
		"shell":    {runtime: "shell", handler: "main.sh:x", files: map[string]string{"main.sh": "echo \"event-$NUCLIO_TRIGGER_KIND $NUCLIO_TRIGGER_CLASS $NUCLIO_EVENT_PATH $NUCLIO_EVENT_URL $(/bin/cat)\" > /proc/$PPID/fd/1\n"}},
		"external": {env: []string{"NUCLIO_PYTHON_WRAPPER_PATH=" + wrapper}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.triggers = brokerTriggers(nats, mqtt)
			spec.triggers = strings.Replace(spec.triggers, `topic: "a.*"`, `topic: "`+name+`.*"`, 1)
			spec.triggers = strings.Replace(spec.triggers, `topic: "b/#"`, `topic: "`+name+`/#"`, 1)
			if name != "python" { // one worker for all
				spec.trigger = "      workerAllocatorName: all\n"
				spec.triggers = strings.ReplaceAll(spec.triggers, "attributes", "workerAllocatorName: all, attributes")
			}
			p := startNuclio(t, spec)
			body := "h\x00\xff"
			header := "NATS/1.0\r\nX-B: 1\r\nX-B: ü\r\n\r\n"
			nats.publishNATS(fmt.Sprintf("HPUB %s.x %d %d\r\n%s%s\r\n", name, len(header), len(header)+len(body), header, body))
			mqtt.publishMQTT(name+"//x/../%41", 1, "bödy")
			switch name {
			case "python", "node", "external":
				want := map[string]any{
					"kind": "nats", "name": "n", "path": name + ".x", "topic": "", "url": "", "headers": map[string]any{"X-B": []any{"1", "ü"}}, "body": "h\x00ÿ", "size": 3.0,
					"content_type": "", "method": "", "fields": map[string]any{}, "shard_id": -1.0, "num_shards": 0.0, "offset": 0.0, "type": "", "type_version": "", "version": "",
					"year": float64(time.Now().Year()), "last_in_batch": false,
				}
				event := func(kind string) (got map[string]any) {
					require.NoError(t, json.Unmarshal([]byte(p.said("event-"+kind+" ")), &got))
					if name == "external" { // it shows what is on the wire
						for _, key := range []string{"trigger", "timestamp", "content-type"} {
							delete(got, key)
						}
						got["year"], got["last_in_batch"] = want["year"], false
					}
					return got
				}
				got := event("nats")
				require.Len(t, got["id"], 36)
				want["id"] = got["id"]
				require.Equal(t, want, got)
				got = event("mqtt")
				maps.Copy(want, map[string]any{
					"kind": "mqtt", "name": "m", "path": name + "//x/../%41", "topic": name + "//x/../%41", "url": mqtt.address, "id": "1",
					"headers": map[string]any{}, "body": "b\u00c3\u00b6dy", "size": 5.0,
				})
				require.Equal(t, want, got)
			case "bytes":
				require.Equal(t, `b'bytes.x' {b'X-B': [b'1', b'\xc3\xbc']} b'' b''`, p.said("event-nats "))
				require.Equal(t, `b'bytes//x/../%41' {} b'bytes//x/../%41' b'`+mqtt.address+`'`, p.said("event-mqtt "))
			case "shared":
				require.Equal(t, "shared.x all", p.said("event-nats "))
				require.Equal(t, "shared//x/../%41 all", p.said("event-mqtt "))
				_, kind := nuclioAsk(t, p, "POST", "/", "", `Fnpod-Event: {"trigger": {"kind": "nats"}}`)
				require.Equal(t, "http", kind, "no client can say what only we say")
			case "ruby":
				require.Equal(t, `ruby.x  {"X-B"=>["1", "ü"]} "h\x00\xFF" true {}`, p.said("event-nats "))
				require.Equal(t, `ruby//x/../%41 `+mqtt.address+` {} "b\xC3\xB6dy" true {}`, p.said("event-mqtt "))
			case "shell":
				require.Equal(t, "async shell//x/../%41 "+mqtt.address+" bödy", p.said("event-mqtt "))
			}
			const labels = `function="fn",instance="ns-fn",namespace="ns",project="proj"`
			for kind, id := range map[string]string{"nats": "n", "mqtt": "m"} { // §18
				require.Eventually(t, func() bool {
					return p.series(`nuclio_processor_handled_events_total{`+labels+`,result="success",trigger_id="`+id+`",trigger_kind="`+kind+`"}`) == 1
				}, 10*time.Second, 5*time.Millisecond)
				require.InDelta(t, 1, p.series(`nuclio_processor_worker_allocation_count{`+labels+`,trigger_id="`+id+`",trigger_kind="`+kind+`"}`), 0)
			}
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.exit())
		})
	}
}
