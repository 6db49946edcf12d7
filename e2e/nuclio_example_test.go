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
