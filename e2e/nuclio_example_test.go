package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The example is a pod of Nuclio as it stands.
func TestNuclioExample(t *testing.T) {
	t.Parallel()
	const example = "../examples/nuclio"
	p := prepareNuclio(t, nuclioSpec{})
	config, err := os.ReadFile(filepath.Join(example, "processor.yaml"))
	require.NoError(t, err)
	text := strings.Replace(string(config), `":8080"`, `"`+p.listen+`"`, 1)
	text = strings.Replace(text, "interval: 1m", "interval: 50ms", 1)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "processor.yaml"), []byte(text), 0o600))
	folder, err := filepath.Abs(example)
	require.NoError(t, err)
	p.cmd.Env = append(p.cmd.Env, "NUCLIO_PYTHON_PATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	p.begin()
	p.waitHealthy()
	resp, body := nuclioAsk(t, p, "GET", "/?name=pod", "")
	require.Equal(t, "hello, pod\n", body)
	require.Contains(t, []string{"0", "1"}, resp.Header.Get("X-Worker"))
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), `"trigger": "cron"`) }, 10*time.Second, time.Millisecond)

	out, err := exec.CommandContext(t.Context(), binary, "serve", "--help").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "nuclio")
}

// The example with brokers is one that works, too.
func TestNuclioExampleOfBrokers(t *testing.T) {
	t.Parallel()
	const example = "../examples/nuclio"
	nats, mqtt := startBroker(t, "nats-server"), startBroker(t, "mosquitto")
	p := prepareNuclio(t, nuclioSpec{})
	config, err := os.ReadFile(filepath.Join(example, "events.yaml"))
	require.NoError(t, err)
	text := strings.Replace(string(config), "nats:4222", nats.address, 1)
	text = strings.Replace(text, "mosquitto:1883", mqtt.address, 1)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "processor.yaml"), []byte(text), 0o600))
	folder, err := filepath.Abs(example)
	require.NoError(t, err)
	p.cmd.Env = append(p.cmd.Env, "NUCLIO_PYTHON_PATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	p.begin()
	p.waitHealthy()
	mqtt.publishMQTT("greetings/x", 1, "world")
	nats.publishNATS("PUB greetings 5\r\nworld\r\n")
	for _, kind := range []string{"mqtt", "nats"} {
		require.Eventually(t, func() bool { return strings.Contains(p.log.String(), `"trigger": "`+kind+`"}`) }, 10*time.Second, time.Millisecond, kind)
	}
}
