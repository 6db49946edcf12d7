package function_test

import (
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/function"
)

// BenchmarkServe has a small request and its answer, both sides in one process.
func BenchmarkServe(b *testing.B) {
	var requests, answers [2]int
	require.NoError(b, syscall.Pipe2(requests[:], syscall.O_CLOEXEC))
	require.NoError(b, syscall.Pipe2(answers[:], syscall.O_CLOEXEC))
	end := make(chan error)
	go func() {
		end <- function.ServeOn(requests[0], answers[1], -1, 0, 1, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello") // an error means that nobody listens
		}))
	}()
	f := encode(request(1, "/hello?a=b", 0, "", "user-agent", "Mozilla/5.0 (X11; Linux x86_64)", "accept", "text/html", "x-request-id", "7f3b1c9e"))
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := syscall.Write(requests[1], f); err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Read(answers[0], buf); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, syscall.Close(requests[1]))
	require.NoError(b, <-end)
	require.NoError(b, os.NewFile(uintptr(answers[0]), "answers").Close())
}
