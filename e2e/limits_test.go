package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fewFiles makes the pod live with 64 descriptors.
func fewFiles(p *pod) *pod {
	p.cmd.Args = append([]string{"sh", "-c", `ulimit -n 64; exec "$0" "$@"`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	p.begin()
	return p
}

// clientsAt opens connections and sends a request on each; what comes back is
// counted by status, 0 for none.
func clientsAt(t *testing.T, address, path string, n int) (codes map[int]int, leave func()) {
	t.Helper()
	codes = map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	conns := make([]net.Conn, n)
	for i := range conns {
		all.Go(func() {
			code := 0
			nc, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err == nil {
				conns[i] = nc
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second)) // never fails
				_, _ = fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
				if r, err := http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
					code = r.StatusCode
					_, _ = io.Copy(io.Discard, r.Body) // the connection stays
				}
			}
			mu.Lock()
			codes[code]++
			mu.Unlock()
		})
	}
	all.Wait()
	return codes, func() {
		for _, nc := range conns {
			if nc != nil {
				_ = nc.Close()
			}
		}
	}
}

// L11, L12, L13: with 64 descriptors and 200 clients the pod serves some, refuses the rest, answers its admin port, and
// is as before when they are gone.
func TestL12DescriptorsRunOut(t *testing.T) {
	function := start(t, "serve", "testdata/handler.py", "--workers-max", "4")
	args := map[string][]string{
		"proxy": {"proxy", "http://" + function.listen, "--connections"},
		"serve": {"serve", "testdata/handler.py", "--workers-min", "1", "--workers-max", "2", "--connections"},
		"run":   {"run", "--connections"},
	}
	for name, args := range args {
		for _, connections := range []string{"0", "1000"} { // with 1000 nothing but the descriptors is a limit
			t.Run(name+" "+connections, func(t *testing.T) {
				args := append(args, connections)
				if name == "run" {
					args = append(args, "--upstream", "http://"+freePort(t), "--", "python3", "testdata/server.py")
				}
				p := fewFiles(prepare(t, nil, args[0], args[1:]...))
				p.waitReady()
				for range 3 {
					codes, leave := clientsAt(t, p.listen, "/", 200)
					t.Log(codes)
					require.Positive(t, codes[200], "some are served: %v", codes)
					for code := range codes {
						require.Contains(t, []int{0, 200, 503}, code, "%v", codes)
					}
					code, body := p.ask("http://" + p.admin + "/metrics")
					require.Equal(t, 200, code)
					require.Contains(t, body, "fnpod_requests_total")
					code, _ = p.ask("http://" + p.admin + "/readyz")
					require.Equal(t, 200, code)
					if name == "serve" { // a new worker finds room although the connections are still there
						started := p.series("fnpod_worker_starts_total")
						for _, pid := range p.children() {
							_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
						}
						require.Eventually(t, func() bool {
							return p.series("fnpod_worker_starts_total") > started && p.number("function", "idle") >= 1
						}, 20*time.Second, 5*time.Millisecond)
					}
					leave()
					require.Eventually(t, func() bool { return p.series("fnpod_connections") == 0 }, 20*time.Second, 5*time.Millisecond)
				}
				for range 5 {
					code, _ := p.get("/")
					require.Equal(t, 200, code)
				}
				require.Contains(t, []float64{0}, p.series("fnpod_panics_total"))
			})
		}
	}
}
