package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// view is what testdata/selfview.py tells.
type view struct {
	Files  map[string]string
	Core   []string
	Args   []string
	OOM    int
	Env    map[string]string
	Group  bool
	Parent map[string]string
}

// W17, W18, W15, E7: what a function gets of us: standard streams and its channel, no core dumps, a higher oom score, a
// process group, no look at our memory and environment, and arguments that no request can change.
func TestW17W18E7WhatAFunctionSees(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "inherited"))
	require.NoError(t, err)
	defer file.Close()
	for name, p := range map[string]*pod{
		"serve": prepare(t, []string{"SECRET=1", "FNPOD_QUEUE_DEPTH=7"}, "serve", "testdata/handler.py"),
		"run": prepare(t, []string{"SECRET=1", "FNPOD_QUEUE_DEPTH=7"}, "run", "--upstream", "http://"+freePort(t), "--",
			"python3", "testdata/server.py", "$(id)", ";`id`"),
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			p.cmd.ExtraFiles = []*os.File{file}
			p.cmd.Env = append(p.cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
			if os.Getuid() == 0 { // as root a function may look at everybody
				p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			p.begin()
			p.waitReady()
			r, body := p.do("GET", "/self?a=$(id)&b=;id", nil)
			require.Equal(t, 200, r.StatusCode)
			var v view
			require.NoError(t, json.Unmarshal([]byte(body), &v), body)

			for fd, target := range v.Files { // W17
				require.NotContains(t, target, "inherited", fd)
				if name == "run" {
					require.Contains(t, []string{"0", "1", "2"}, fd, target)
				} else {
					require.Contains(t, []string{"0", "1", "2", "3", "4", "5", "6"}, fd, target)
				}
			}
			require.Equal(t, "/dev/null", v.Files["0"])
			require.Equal(t, []string{"0", "0"}, v.Core) // W18
			require.True(t, v.Group, "W3")
			text, err := os.ReadFile("/proc/self/oom_score_adj")
			require.NoError(t, err)
			ours, err := strconv.Atoi(strings.TrimSpace(string(text)))
			require.NoError(t, err)
			require.Equal(t, min(ours+100, 1000), v.OOM, "W15")
			for what, how := range v.Parent {
				require.Equal(t, "Permission denied", how, "W18: %s", what)
			}
			require.Equal(t, "1", v.Env["SECRET"], "the function's own environment")
			require.NotContains(t, v.Env, "FNPOD_QUEUE_DEPTH", "ours")
			if name == "run" { // E7
				require.Equal(t, []string{"python3", "testdata/server.py", "$(id)", ";`id`"}, v.Args)
			} else {
				require.NotContains(t, strings.Join(v.Args, " "), "id)")
			}
		})
	}
}
