package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// imageEnv reads the variables that a Dockerfile sets.
func imageEnv(t *testing.T, dockerfile string) (env []string) {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	require.NoError(t, err)
	for _, line := range regexp.MustCompile(`(?m)^ENV (.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, pair := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(line[1], -1) {
			env = append(env, pair[1]+"="+pair[2])
		}
	}
	require.NotEmpty(t, env)
	return env
}

// §19, §20: the example's images, without a container: what its Dockerfiles copy and set, started both ways.
func TestOpenFaaSExampleAnswersAlikeBothWays(t *testing.T) {
	t.Parallel()
	const example = "../examples/openfaas"
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(example, name))
		require.NoError(t, err)
		return string(text)
	}
	_, port, _ := strings.Cut(freePort(t), ":")
	handler := map[string]string{"function/handler.py": read("function/handler.py"), "function/__init__.py": ""}
	env := imageEnv(t, filepath.Join(example, "template/Dockerfile"))
	for i, pair := range env {
		env[i] = strings.NewReplacer("python3 ", flaskPython(t)+" ", ":5000", ":"+port).Replace(pair)
	}
	old := ofWorkers(t, map[string]string{
		"index.py": read("template/index.py"), "function/handler.py": handler["function/handler.py"], "function/__init__.py": "",
	}, append(env, "PORT="+port, "HOSTNAME=pod-1")...)
	warm := ofWorkers(t, handler, append(imageEnv(t, filepath.Join(example, "workers/Dockerfile")), "HOSTNAME=pod-1")...)
	for _, p := range []*pod{old, warm} {
		p.begin()
	}
	for _, p := range []*pod{old, warm} {
		require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
		for _, q := range []struct {
			templateRequest

			status     int
			kind, body string
		}{
			{templateRequest{"GET", "/?name=pod", "", nil}, 200, "text/plain; charset=utf-8", "hello pod\n"},
			{templateRequest{"POST", "/", `{"name": "pod"}`, []string{"Content-Type: application/json"}}, 200, "text/plain; charset=utf-8", "hello pod\n"},
			{templateRequest{"POST", "/", `{}`, []string{"Content-Type: application/json"}}, 400, "application/json", `{"error":"a name is missing"}` + "\n"},
			{templateRequest{"GET", "/calls", "", nil}, 200, "application/json", `{"calls":4,"pod":"pod-1"}` + "\n"},
		} {
			r, body := ofAsk(t, p, q.method, q.target, q.templateRequest.body, q.fields...)
			require.Equal(t, q.status, r.StatusCode, q)
			require.Equal(t, q.kind, r.Header.Get("Content-Type"))
			require.Equal(t, q.body, body)
		}
	}
}
