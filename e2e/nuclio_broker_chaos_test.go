package e2e_test

import (
	"fmt"
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

// again is one more pod with the files of p, on the same ports.
func (p *nuclioPod) again() *nuclioPod {
	p.t.Helper()
	q := &nuclioPod{pod: &pod{t: p.t, listen: p.listen, admin: p.admin, ended: make(chan struct{})}, dir: p.dir, health: p.health, web: p.web}
	q.cmd = exec.Command(p.cmd.Path, p.cmd.Args[1:]...)
	q.cmd.Args[0], q.cmd.Env, q.cmd.WaitDelay = p.cmd.Args[0], p.cmd.Env, p.cmd.WaitDelay
	q.cmd.Stdout, q.cmd.Stderr = &q.log, &q.log
	q.begin()
	q.waitHealthy()
	return q
}

// noting writes the body of each event into the file done, after what the lines before it do.
func noting(lines ...string) map[string]string {
	all := append([]string{"import os, time", "HOME = os.environ['NUCLIO_PYTHON_PATH'] + '/'", "def handler(context, event):", "    body = event.body.decode()[:20]"}, lines...)
	return py(append(all, "    with open(HOME + 'done', 'a') as f: f.write(body + '\\n')")...)
}

// noted counts the bodies that handlers have noted.
func (p *nuclioPod) noted() map[string]int {
	p.t.Helper()
	all := map[string]int{}
	b, err := os.ReadFile(filepath.Join(p.dir, "done"))
	if err != nil {
		return all
	}
	for line := range strings.FieldsSeq(string(b)) {
		all[line]++
	}
	return all
}

// failures are the events of a trigger that failed.
func (p *nuclioPod) failures(kind, trigger string) float64 {
	return p.series(`nuclio_processor_handled_events_total{function="fn",instance="ns-fn",namespace="ns",project="proj",result="failure",trigger_id="` + trigger + `",trigger_kind="` + kind + `"}`)
}

// numbers are the texts of whole numbers.
func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// T5 and beyond: of a session that the broker keeps, what it has taken is handled, whatever dies: workers, pods, the broker.
func TestNuclioMQTTLosesNothing(t *testing.T) {
	t.Parallel()
	mqtt := startBroker(t, "mosquitto")
	p := prepareNuclio(t, nuclioSpec{
		files: noting("    time.sleep(0.005)", "    if body == 'poison': os._exit(1)", "    if body == 'once' and not os.path.exists(HOME + 'died'):", "        open(HOME + 'died', 'w')", "        os._exit(1)"),
		triggers: fmt.Sprintf("    m:\n      kind: mqtt\n      url: tcp://%s\n      numWorkers: 3\n      workerTerminationTimeout: 2s\n"+
			"      attributes: {clientID: pod, cleanSession: false, subscriptions: [{topic: a, qos: 1}]}\n", mqtt.address),
	})
	const messages = 300
	p = p.again()
	mqtt.publishMQTT("a", 1, append(append(numbers(0, 50), "poison", "once"), numbers(50, messages/2)...)...)
	have := func(n int) func() bool { return func() bool { return len(p.noted()) >= n } }
	require.Eventually(t, have(20), 20*time.Second, time.Millisecond)
	mqtt.stop()
	mqtt.start()
	require.Eventually(t, have(70), 20*time.Second, time.Millisecond)
	p.said("message is given up")
	p.signal(syscall.SIGKILL)
	p.exit()
	mqtt.publishMQTT("a", 1, numbers(messages/2, messages)...)
	p = p.again()
	require.Eventually(t, have(messages/2+20), 20*time.Second, time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.NotContains(t, p.log.String(), "messages are left")
	p = p.again()
	require.Eventually(t, have(messages+1), 20*time.Second, 10*time.Millisecond)
	noted := p.noted()
	for _, body := range append(numbers(0, messages), "once") {
		require.Positive(t, noted[body], body)
	}
	require.Zero(t, noted["poison"])
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.NotContains(t, p.log.String(), "DATA RACE")
}

// §16: pods that share a queue come and go, and each message is handled once.
func TestNuclioNATSDrainsUnderLoad(t *testing.T) {
	t.Parallel()
	nats := startBroker(t, "nats-server")
	spec := nuclioSpec{
		files:    noting("    time.sleep(0.002)"),
		triggers: fmt.Sprintf("    n: {kind: nats, url: \"nats://%s\", numWorkers: 2, attributes: {topic: a, queueName: q}}\n", nats.address),
	}
	one, two := prepareNuclio(t, spec), prepareNuclio(t, spec)
	for _, p := range []*nuclioPod{one, two} {
		p.begin()
	}
	one.waitHealthy()
	two.waitHealthy()
	const batches, size = 20, 40
	for i := range batches {
		var text strings.Builder
		for j := range size {
			n := strconv.Itoa(i*size + j)
			fmt.Fprintf(&text, "PUB a %d\r\n%s\r\n", len(n), n)
		}
		nats.publishNATS(text.String())
		switch i {
		case 5:
			one.signal(syscall.SIGTERM)
		case 12:
			require.Equal(t, 0, one.exit())
			one = one.again()
		}
	}
	require.Eventually(t, func() bool { return len(one.noted())+len(two.noted()) == batches*size }, 30*time.Second, 5*time.Millisecond)
	for _, p := range []*nuclioPod{one, two} {
		require.NotEmpty(t, p.noted())
		for body, times := range p.noted() {
			require.Equal(t, 1, times, body)
		}
		require.Zero(t, p.failures("nats", "n"))
		p.signal(syscall.SIGTERM)
		require.Equal(t, 0, p.exit())
	}
}

// W9: what waits is bounded, and what finds no room is counted; a message that is too large harms nobody.
func TestNuclioBrokersCannotFlood(t *testing.T) {
	t.Parallel()
	nats, mqtt := startBroker(t, "nats-server"), startBroker(t, "mosquitto")
	p := prepareNuclio(t, nuclioSpec{
		files:    noting("    while not os.path.exists(HOME + 'go'): time.sleep(0.01)"),
		triggers: strings.ReplaceAll(brokerTriggers(nats, mqtt), "attributes", "workerTerminationTimeout: 1s, attributes"),
	})
	path, err := plain()
	require.NoError(t, err)
	p.cmd.Path = path
	p.begin()
	p.waitHealthy()
	const messages, size = 1500, 100_000
	message := "PUB a.b " + strconv.Itoa(size) + "\r\n" + strings.Repeat("x", size) + "\r\n"
	for range messages / 50 {
		nats.publishNATS(strings.Repeat(message, 50))
	}
	waiting := 64<<20/size + 2
	require.Eventually(t, func() bool { return p.failures("nats", "n") >= float64(messages-waiting) }, 20*time.Second, 10*time.Millisecond)
	require.Less(t, peakMemory(t, p.cmd.Process.Pid), 256<<20)
	require.Less(t, strings.Count(p.log.String(), "messages are lost"), 20)

	host, port, _ := net.SplitHostPort(mqtt.address)
	large := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-t", "b/large", "-q", "1", "-s")
	large.Stdin = strings.NewReader(strings.Repeat("x", 65<<20))
	require.NoError(t, large.Run())
	require.Eventually(t, func() bool { return p.failures("mqtt", "m") == 1 }, 20*time.Second, 10*time.Millisecond)
	mqtt.publishMQTT("b/c", 1, "small")
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "go"), nil, 0o600))
	require.Eventually(t, func() bool {
		return p.noted()["small"] == 1 && float64(p.noted()[strings.Repeat("x", 20)])+p.failures("nats", "n") == messages
	}, 30*time.Second, 10*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
}

// peakMemory is the largest resident size that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return n << 10
}

// §3 S3: a broker that is not there yet is waited for; one that refuses ends the start.
func TestNuclio3BrokersAtTheStart(t *testing.T) {
	t.Parallel()
	nats, mqtt := startBroker(t, "nats-server"), startBroker(t, "mosquitto")
	nats.stop()
	p := prepareNuclio(t, nuclioSpec{files: noting(), triggers: brokerTriggers(nats, mqtt)})
	p.begin()
	p.said("no connection to the broker")
	code, _ := p.ask("http://" + p.health + "/ready")
	require.Equal(t, 503, code)
	require.Eventually(t, func() bool { code, _ := p.get("/"); return code == 200 }, 20*time.Second, 5*time.Millisecond, "requests are answered")
	nats.start()
	p.waitHealthy()
	const connected = `fnpod_broker_connected{trigger="n"}`
	require.InDelta(t, 1, p.series(connected), 0)
	nats.stop()
	require.Eventually(t, func() bool { return p.series(connected) == 0 }, 20*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Count(p.log.String(), "no connection to the broker") > 1 }, 20*time.Second, time.Millisecond)
	code, _ = p.ask("http://" + p.health + "/ready")
	require.Equal(t, 200, code, "a broker that is lost later takes no requests away")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())

	nats.args = append(nats.args, "--auth", "secret")
	nats.start()
	bad := prepareNuclio(t, nuclioSpec{files: noting(), triggers: brokerTriggers(nats, mqtt)})
	bad.begin()
	require.Equal(t, 1, bad.exit())
	require.Contains(t, bad.log.String(), "fnpod: trigger n: "+nats.address+": broker: refused: Authorization Violation\n")
}

// §16, D4: a handler that never ends is not waited for longer than it may take; its message is for the next pod.
func TestNuclio16MessagesThatTakeTooLong(t *testing.T) {
	t.Parallel()
	mqtt := startBroker(t, "mosquitto")
	p := prepareNuclio(t, nuclioSpec{
		files:    noting("    if not os.path.exists(HOME + 'go'):", "        print('hangs', flush=True)", "        time.sleep(1000)"),
		triggers: fmt.Sprintf("    m: {kind: mqtt, url: \"%s\", workerTerminationTimeout: 1s, attributes: {clientID: pod, cleanSession: false, subscriptions: [{topic: a, qos: 2}]}}\n", mqtt.address),
		trigger:  "      workerTerminationTimeout: 1s\n",
	})
	p = p.again()
	mqtt.publishMQTT("a", 2, "first", "second")
	p.said("hangs")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.Contains(t, p.log.String(), "messages are left")
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "go"), nil, 0o600))
	p = p.again()
	require.Eventually(t, func() bool { return len(p.noted()) == 2 }, 20*time.Second, time.Millisecond)
}

// Who can cause a line of the log can cause any number: a broker, or a client. What the function says itself is all there.
func TestNuclioFailuresDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	nats := startBroker(t, "nats-server")
	p := startNuclio(t, nuclioSpec{
		files:    py("def handler(context, event):", "    context.logger.error('own line')", "    raise ValueError()"),
		triggers: fmt.Sprintf("    n: {kind: nats, url: \"nats://%s\", attributes: {topic: a}}\n", nats.address),
	})
	const messages = 300
	nats.publishNATS(strings.Repeat("PUB a 1\r\nx\r\n", messages))
	require.Eventually(t, func() bool { return p.failures("nats", "n") == messages }, 20*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.Less(t, strings.Count(p.log.String(), "event was not handled"), messages/2)
	require.Contains(t, p.log.String(), "event was not handled")
	require.Equal(t, messages, strings.Count(p.log.String(), " own line "))
}
