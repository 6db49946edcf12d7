package watchdog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// What platforms ask for that have a process per request of their own kind.

func TestCombinedOutputIsInTheOrderOfWriting(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "mix", "0")
		c.Combined = true
		c.Output = func(string, watchdog.Line) { t.Error("a line for the log") }
		x := newExchange("GET /")
		require.NoError(t, forks(t, c).Do(x))
		require.Equal(t, "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n", x.answer.String())
	})
}

func TestFailedOutputIsKeptForItsError(t *testing.T) {
	c := function(t, watchdog.Serializing, "mix", "3")
	c.Combined = true
	for _, keep := range []bool{false, true} {
		c.FailedOutput = keep
		var failed *watchdog.FailedError
		require.ErrorAs(t, forks(t, c).Do(newExchange("GET /")), &failed)
		require.Equal(t, 3, failed.Exit.Code)
		require.Equal(t, keep, strings.HasPrefix(string(failed.Output), "out 0\nerr 0\n"))
	}
}

func TestFieldsOfAnAnswerAreThePlatforms(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "cat")
		c.ContentType = ""
		c.Fields = func(x watchdog.Exchange) error {
			return x.AddField([]byte("X-Method"), x.Request().Method)
		}
		x := post([]byte("body"))
		require.NoError(t, forks(t, c).Do(x))
		require.Equal(t, []string{"X-Method: POST"}, x.fields)
		c.Fields = nil
		require.ErrorContains(t, c.Validate(), "content-type")
	})
}

func TestVariablesMayBeAsLargeAsThePlatformSays(t *testing.T) {
	c := function(t, watchdog.Serializing, "variables")
	c.MaxVariables = 100_000
	f := forks(t, c)
	x := newExchange("GET /", "X-Long: "+strings.Repeat("x", 90_000))
	require.NoError(t, f.Do(x))
	require.Contains(t, x.answer.String(), "HTTP_X_LONG=xxx")
	require.ErrorIs(t, f.Do(newExchange("GET /", "X-Long: "+strings.Repeat("x", 100_000))), watchdog.ErrVariables)
	c.MaxVariables = 128 << 10
	require.ErrorContains(t, c.Validate(), "max-variables")
}

// Who holds the output open after the process has ended has no more time than the process.
func TestTimeoutEndsTheGraceOfOutput(t *testing.T) {
	subreaper(t)
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "leave")
		c.OutputGrace, c.Timeout = time.Hour, 1500*time.Millisecond
		x := newExchange("GET /")
		require.NoError(t, forks(t, c).Do(x))
		require.Equal(t, "left", x.answer.String())
	})
}

// Who is told to end has no time for output that somebody else holds open.
func TestTimeoutLeavesNoGraceOfOutput(t *testing.T) {
	subreaper(t)
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "leave", "and wait")
		c.OutputGrace, c.Timeout, c.Grace = time.Hour, 500*time.Millisecond, 100*time.Millisecond
		err := forks(t, c).Do(newExchange("GET /"))
		require.ErrorIs(t, err, watchdog.ErrRunTimeout)
		linger(t, err)
	})
}

// What a request brings is an argument of the program, whatever is in it.
func TestArgumentsOfARequest(t *testing.T) {
	c := function(t, watchdog.Serializing, "cat")
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `printf '%s|' "$@"`, "script", "fixed"}
	c.Arguments = func(x watchdog.Exchange) []string { return []string{string(x.Request().Target), "$(id)", ""} }
	f := forks(t, c)
	for _, target := range []string{"/a", "/b"} {
		x := newExchange("GET " + target)
		require.NoError(t, f.Do(x))
		require.Equal(t, "fixed|"+target+"|$(id)||", x.answer.String())
	}
}
