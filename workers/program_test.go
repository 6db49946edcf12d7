package workers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
	gofunction "github.com/fnpod/fnpod/workers/function"
)

// goFunction is the function of the other languages, in Go.
func goFunction(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.Copy(w, r.Body) // the client may be gone
		return
	case "/raise":
		panic("missing")
	case "/stream":
		n, _ := strconv.Atoi(r.URL.RawQuery)
		w.(http.Flusher).Flush()
		for range n {
			fmt.Fprint(w, strings.Repeat("x", 1000))
		}
		return
	case "/print":
		fmt.Println("on stdout")
		fmt.Fprintln(os.Stderr, "on stderr")
	case "/exit":
		os.Exit(3)
	case "/sleep":
		s, _ := strconv.ParseFloat(r.URL.RawQuery, 64)
		select {
		case <-time.After(time.Duration(s * float64(time.Second))):
		case <-r.Context().Done():
			if errors.Is(r.Context().Err(), context.DeadlineExceeded) {
				select {} // as a function that does not look
			}
			return
		}
	case "/pid":
		fmt.Fprint(w, os.Getpid())
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.UserAgent(), r.Header.Get("X-Request-Id"))
}

// serveGo is what the test binary does as a function in Go.
func serveGo() int {
	if err := gofunction.Serve(http.HandlerFunc(goFunction)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// goHandler is the configuration of a function in Go, which is this program.
func goHandler(t testing.TB) workers.Config {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := config(t, "go")
	c.Command = nil
	c.Handler, err = workers.ParseHandler(self)
	require.NoError(t, err)
	require.Equal(t, "program", c.Handler.Language())
	return c
}

func TestAProgramIsItsOwnInterpreter(t *testing.T) {
	c := goHandler(t)
	c.Interpreter = "python3"
	require.ErrorContains(t, c.Validate(), `workers-interpreter "python3": the handler is a program itself`)
}

// A function in Go is told that its client left, and need not be killed for it.
func TestAGoFunctionSeesThatItsClientLeft(t *testing.T) {
	p := running(t, goHandler(t))
	left := newExchange("/sleep?100")
	require.ErrorIs(t, interruptedWhen(t, p, left, errGone, func(s workers.Stats) bool { return s.Busy == 1 }), errGone)
	p.settled(t, "idle again", func(s workers.Stats) bool { return s.Idle == 1 })
	require.EqualValues(t, 1, p.Stats().Starts)
}
