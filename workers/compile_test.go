package workers_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// thirdStart is a pool of a function in Python that has been loaded anew twice. Its answer is true if the wrapper that called it was compiled
// ahead. It needs a part that is compiled later.
func thirdStart(t *testing.T, change ...func(*workers.Pool)) (p *pool, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "handler.py")
	require.NoError(t, os.WriteFile(file, []byte("import sys\ndef handle(req):\n  return [sys._getframe(1).f_code.co_filename == '<fnpod>']\n"), 0o600))
	c := config(t, "")
	c.Command, c.Path, c.Env = nil, os.Getenv("PATH"), append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var err error
	c.Handler, err = workers.ParseHandler(file)
	require.NoError(t, err)
	p = running(t, c, change...)
	require.Equal(t, "[false]", p.get(t, "/"))
	for range 2 {
		reload(t, p)
	}
	return p, file
}

// compiling is a thirdStart whose wrapper has been compiled.
func compiling(t *testing.T) (p *pool, file string) {
	t.Helper()
	p, file = thirdStart(t)
	require.Eventually(t, func() bool { return p.logs.count("wrapper compiled") == 1 }, patience, time.Millisecond)
	return p, file
}

// reload has the function loaded anew and waits until it is.
func reload(t *testing.T, p *pool) {
	t.Helper()
	const serves = "new version of the function serves"
	before := p.logs.count(serves)
	p.Reload()
	require.Eventually(t, func() bool { return p.logs.count(serves) > before }, patience, time.Millisecond)
}

// A pool that starts workers again and again has the wrapper compiled once, and they answer as before.
func TestSuccessorsRunACompiledWrapper(t *testing.T) {
	p, _ := compiling(t)
	for range 2 {
		reload(t, p)
		require.Equal(t, "[true]", p.get(t, "/"))
	}
	require.Equal(t, 1, p.logs.count("wrapper compiled"))
	require.NoError(t, p.stop())
}

// A start that fails gives up what is compiled, whatever the reason: the interpreter may be another one by now.
func TestAStartThatFailsGoesBackToTheSource(t *testing.T) {
	p, file := compiling(t)
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("raise ValueError('broken')"), 0o600))
	p.Reload()
	require.Eventually(t, func() bool {
		return p.logs.count("new version of the function did not start: the old one goes on") == 1
	}, patience, time.Millisecond)
	require.NoError(t, os.WriteFile(file, source, 0o600))
	reload(t, p)
	require.Equal(t, "[false]", p.get(t, "/"))
	require.NoError(t, p.stop())
}

// W15: the compiler needs memory, too. Where little is left workers go on with the source.
func TestW15NothingIsCompiledWhereMemoryIsShort(t *testing.T) {
	p, _ := thirdStart(t, func(p *workers.Pool) { p.SetMemory(func() (int64, bool) { return 63 << 20, true }) })
	require.Eventually(t, func() bool { return p.logs.count("wrapper is not compiled: memory is short") == 1 }, patience, time.Millisecond)
	reload(t, p)
	require.Equal(t, "[false]", p.get(t, "/"))
	require.NoError(t, p.stop())
}
