// Ways to fail, by path.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/fnpod/fnpod/workers/function"
)

func main() {
	if err := function.Serve(http.HandlerFunc(handle)); err != nil {
		log.Fatal(err)
	}
}

func handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/raise":
		panic("the secret reason")
	case "/exit":
		os.Exit(3)
	case "/_exit":
		go panic("in a goroutine that nobody watches")
		select {}
	case "/bomb":
		_ = exec.Command("sh", "bomb.sh").Run()
	case "/segv":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "/kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "/loop":
		for { //nolint:staticcheck // that is the point
		}
	case "/stdout":
		_ = os.Stdout.Close()
	case "/garbage":
		_, _ = os.NewFile(4, "answers").WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	case "/log":
		fmt.Println(strings.Repeat("x", 1_000_000))
	case "/hog":
		_ = exec.Command("prlimit", "--pid", strconv.Itoa(os.Getpid()), "--data=400000000").Run()
		for all := [][]byte{}; ; {
			b := make([]byte, 10_000_000)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
	}
	fmt.Fprint(w, "hello")
}
