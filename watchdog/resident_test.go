package watchdog_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// resident is a Fork whose zygote has run a script in Python.
func resident(t *testing.T, text string) watchdog.ForkConfig {
	t.Helper()
	subreaper(t)
	c := script(t, watchdog.Zygote, "python", map[string]string{"index.py": text + "\nif __name__ == '__main__': request()\n"}, "index.py")
	c.Resident = true
	return c
}

const counts = `
import os, sys
print('loading', file=sys.stderr)
count = 0
def request():
    global count
    count += 1
    print(count, sys.stdin.read())
`

// The script runs once, and what a request changes no other one sees.
func TestAResidentZygoteRunsItsScriptOnce(t *testing.T) {
	c := resident(t, counts)
	log := &forkLog{}
	c.Output, c.Standby = log.add, 2
	f := forks(t, c)
	for range 5 {
		x := post([]byte("body"))
		require.NoError(t, f.Do(x)) // the first one waits
		require.Equal(t, "1 body\n", x.answer.String())
	}
	require.Equal(t, watchdog.Zygote, f.Launcher())
	require.Equal(t, 1, log.count("loading"))
}

// Threads and connections are its own concern: as in Kubeless' fork server, its children share what it has.
func TestAResidentZygoteMayHaveThreadsAndConnections(t *testing.T) {
	c := resident(t, `
import socket, sys, threading
ours, theirs = socket.socketpair()
threading.Thread(target=theirs.recv, args=(1,), daemon=True).start()
def request(): print(ours.fileno() > 0)
`)
	f := forks(t, c)
	x := newExchange("GET /")
	require.NoError(t, f.Do(x))
	require.Equal(t, "True\n", x.answer.String())
	require.Equal(t, watchdog.Zygote, f.Launcher())
}

// A script that cannot be run is the end, before any request was answered. Those that wait are told.
func TestAResidentZygoteThatDoesNotStartEndsRun(t *testing.T) {
	for name, text := range map[string]string{
		"raises": "raise ValueError('at import')", "exits": "import os; os._exit(3)", "is no Python": "def", "hangs": "import time; time.sleep(1000)",
	} {
		t.Run(name, func(t *testing.T) {
			c := resident(t, text)
			c.StartTimeout = 3 * time.Second
			if name == "hangs" {
				c.StartTimeout = 300 * time.Millisecond
			}
			log := &forkLog{}
			c.Output = log.add
			noLeaks(t)
			f, err := watchdog.NewFork(c)
			require.NoError(t, err)
			waiting := make(chan error, 1)
			go func() { waiting <- f.Do(newExchange("GET /")) }()
			require.ErrorIs(t, f.Run(t.Context()), watchdog.ErrNotStarted)
			require.ErrorIs(t, <-waiting, watchdog.ErrForkClosed)
			if name == "raises" {
				require.True(t, log.has("ValueError: at"))
			}
		})
	}
}

// A request that waits for the zygote can be given up, and so can the whole Fork.
func TestARequestThatWaitsForAResidentZygoteCanBeGivenUp(t *testing.T) {
	c := resident(t, "import time; time.sleep(1000)")
	noLeaks(t)
	f, err := watchdog.NewFork(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	x, y := newExchange("GET /"), newExchange("GET /")
	answers := make(chan error, 2)
	for _, x := range []*exchange{x, y} {
		go func() { answers <- f.Do(x) }()
		require.Eventually(t, x.running, 10*time.Second, time.Millisecond)
	}
	x.interrupt(errGone)
	require.ErrorIs(t, <-answers, errGone)
	cancel()
	require.ErrorIs(t, <-answers, watchdog.ErrForkClosed)
	require.NoError(t, <-ended)
}

// When the zygote dies another one is started, and no request is lost.
func TestAResidentZygoteIsStartedAgain(t *testing.T) {
	c := resident(t, counts)
	log := &forkLog{}
	c.Output, c.Standby = log.add, 0
	t.Cleanup(func() { // a child that the zygote did not tell of any more is an orphan, which a Reaper collects
		for !errors.Is(wait(), syscall.ECHILD) {
		}
	})
	f := forks(t, c)
	require.NoError(t, f.Do(newExchange("GET /")))
	for range 3 {
		pid := f.ZygotePid()
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				x := post([]byte("body"))
				if err := f.Do(x); err != nil || x.answer.String() != "1 body\n" {
					t.Errorf("%v: %q", err, x.answer.String())
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return f.Warm() && f.ZygotePid() != pid }, 10*time.Second, time.Millisecond)
	}
}

// A process of Exec runs the same script, as a whole: where no orphans come to us there is no zygote.
func TestTheScriptOfAResidentZygoteRunsByItself(t *testing.T) {
	c := resident(t, counts)
	c.Launcher, c.Resident = watchdog.Standby, false
	f := forks(t, c)
	x := post([]byte("body"))
	require.NoError(t, f.Do(x))
	require.Equal(t, "1 body\n", x.answer.String())
}

// wait collects a child.
func wait() error {
	_, err := syscall.Wait4(-1, nil, 0, nil)
	return err
}

// A script may be a file without a path of its own, however a process comes to be.
func TestAScriptIsInheritedByAllProcesses(t *testing.T) {
	for _, launcher := range []watchdog.Launcher{watchdog.Exec, watchdog.Standby, watchdog.Zygote} {
		t.Run(launcher.String(), func(t *testing.T) {
			c := resident(t, "")
			program, err := watchdog.MemoryFile("script", counts+"\nif __name__ == '__main__': request()\n")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, program.Close()) })
			c.Launcher, c.Resident, c.Script, c.Args = launcher, launcher == watchdog.Zygote, program, []string{c.Path, watchdog.ScriptPath}
			f := forks(t, c)
			for range 2 {
				x := post([]byte("body"))
				require.NoError(t, f.Do(x))
				require.Equal(t, "1 body\n", x.answer.String())
			}
		})
	}
}
