// A function for the benchmarks; with an argument of theirs, the bare loop, or nothing at all.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"syscall"

	"github.com/fnpod/fnpod/workers/function"
)

func main() {
	switch os.Args[1] {
	case "nothing":
		return
	case "bare":
		b := make([]byte, 65536)
		for {
			n, err := syscall.Read(3, b)
			if n <= 0 || err != nil {
				return
			}
			if _, err := syscall.Write(4, b[:n]); err != nil {
				return
			}
		}
	}
	err := function.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello") // an error means that nobody listens
	}))
	if err != nil {
		log.Fatal(err)
	}
}
