package workers_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// editable is a Python function whose file may be changed.
func editable(t *testing.T, source string) (c workers.Config, edit func(string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "handler.py")
	edit = func(source string) { // as editors do it
		require.NoError(t, os.WriteFile(file+"~", []byte(source), 0o600))
		require.NoError(t, os.Rename(file+"~", file))
	}
	edit(source)
	c = workers.DefaultConfig()
	c.Path = os.Getenv("PATH")
	c.Env = []string{"PATH=" + c.Path, "HOME=" + os.Getenv("HOME")}
	c.Min, c.Max, c.Watch = 1, 1, true
	var err error
	c.Handler, err = workers.ParseHandler(file)
	require.NoError(t, err)
	return c, edit
}

// says is a version of the function that answers with a word.
func says(word string) string {
	return "import time\ndef handle(req):\n    time.sleep(float(req.query or 0))\n    return '" + word + "'\n"
}

func (p *pool) becomes(t *testing.T, word string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.get(t, "/") == word }, patience, 5*time.Millisecond)
}

// A changed function takes the place of the old one when it is ready; requests in flight end as they began.
func TestAChangedFunctionIsLoadedAnew(t *testing.T) {
	t.Parallel()
	c, edit := editable(t, says("one"))
	c.Min, c.Max = 2, 2
	p := running(t, c)
	p.settled(t, "both", func(s workers.Stats) bool { return s.Idle == 2 })
	old := newExchange("/?2")
	result := make(chan error, 1)
	go func() { result <- p.Do(old) }()
	p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })
	edit(says("two"))
	p.becomes(t, "two")
	for range 20 {
		require.Equal(t, "two", p.get(t, "/"))
	}
	require.NoError(t, <-result)
	require.Equal(t, "one", old.text())
	p.settled(t, "only new ones", func(s workers.Stats) bool { return s.Idle == 2 && s.Leaving == 0 })
}

// A version that does not start, or does not warm up, is told of and not used.
func TestABrokenVersionIsNotUsed(t *testing.T) {
	t.Parallel()
	c, edit := editable(t, says("one"))
	c.Warmup = []workers.Warmup{{Method: "GET", Target: "/", Times: 1}}
	p := running(t, c)
	for n, source := range []string{"def handle(req:\n", "import nothing_like_this\n", "def handle(req):\n    raise ValueError('cold')\n"} {
		edit(source)
		require.Eventually(t, func() bool {
			return p.logs.count("new version of the function did not start: the old one goes on") == n+1
		}, patience, 5*time.Millisecond)
		require.Equal(t, "one", p.get(t, "/"))
		require.NoError(t, p.Health())
	}
	edit(says("two"))
	p.becomes(t, "two")
	require.EqualValues(t, 3, p.Stats().Failures)
}

// While somebody writes it, a function that cannot be loaded at first is no reason to end.
func TestAWatchedFunctionMayBeBrokenAtFirst(t *testing.T) {
	t.Parallel()
	c, edit := editable(t, "def handle(req:\n")
	p := run(t, c)
	require.Eventually(t, func() bool { return errors.Is(p.Health(), workers.ErrNotReady) && p.Stats().Failures > 0 }, patience, time.Millisecond)
	edit(says("good"))
	p.becomes(t, "good")
}

// No request is lost, however often the function changes, with one request per worker and with several.
func TestReloadsUnderLoadLoseNoRequest(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		source := says
		c, edit := editable(t, says("v"))
		if several {
			c.Concurrency = 10
			source = func(word string) string {
				return "import asyncio\nasync def handle(req):\n    await asyncio.sleep(0.002)\n    return '" + word + "'\n"
			}
		}
		p := running(t, c)
		done := make(chan struct{})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					x := newExchange("/")
					if err := p.Do(x); err != nil || !strings.HasPrefix(x.text(), "v") {
						t.Errorf("%v %q", err, x.text())
						return
					}
				}
			})
		}
		for _, word := range []string{"va", "vb", "vc", "vd"} {
			edit(source(word))
			p.becomes(t, word)
			p.Reload() // overtakes and is overtaken
		}
		close(done)
		all.Wait()
		s := p.Stats()
		require.Zero(t, s.Failures+s.Failed+s.Ends[workers.ReasonExited]+s.Ends[workers.ReasonSignaled]+s.Ends[workers.ReasonProtocol])
	}
}

func TestWhichFilesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write("handler.py", "1")
	h, err := workers.ParseHandler(filepath.Join(dir, "handler.py"))
	require.NoError(t, err)
	changes := func(f func()) bool {
		before := h.Fingerprint()
		f()
		return h.Fingerprint() != before
	}
	require.False(t, changes(func() {}))
	for _, name := range []string{"handler.py", "helper.py", "package/deep/module.py"} {
		require.True(t, changes(func() { write(name, "22") }), name)
		require.True(t, changes(func() { write(name, "333") }), name)
	}
	for _, name := range []string{
		"handler.py~", ".handler.py.swp", ".#handler.py", "#handler.py#", "4913", "data.json", "handler.py.tmp",
		"__pycache__/handler.cpython-311.pyc", ".git/hook.py", "node_modules/x.py",
	} {
		require.False(t, changes(func() { write(name, "x") }), name)
	}
	require.True(t, changes(func() { require.NoError(t, os.Remove(filepath.Join(dir, "helper.py"))) }))
	require.NoError(t, os.Rename(filepath.Join(dir, "handler.py"), filepath.Join(dir, "handler.py~")))
	require.Zero(t, h.Fingerprint(), "while it is replaced")
}
