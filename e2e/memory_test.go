package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mostGrowth is what a body of any size may add to the memory of a pod.
const mostGrowth = 8 << 20

// memory reads a field of /proc/PID/status, such as VmRSS, in bytes.
func (p *pod) memory(field string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); words[0] == field+":" {
			n, err := strconv.ParseInt(words[1], 10, 64)
			require.NoError(p.t, err)
			return n << 10
		}
	}
	require.Fail(p.t, "no such field", field)
	return 0
}

// grows runs f and returns by how much the memory of p rose above where it was, at its highest.
func (p *pod) grows(f func()) int64 {
	p.t.Helper()
	before := p.memory("VmRSS")
	require.NoError(p.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)) // VmHWM begins anew
	f()
	return p.memory("VmHWM") - before
}

// sink is a function that counts what it is sent, and sends what the query asks for.
// Both begin slowly, so that everything before it fills up.
func sink(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		time.Sleep(200 * time.Millisecond)
		n, _ := io.Copy(io.Discard, r.Body) // the count tells
		_, _ = fmt.Fprint(w, n)
		return
	}
	left, _ := strconv.Atoi(r.URL.RawQuery)
	if r.URL.Path == "/length" {
		w.Header().Set("Content-Length", strconv.Itoa(left))
	}
	for left > 0 {
		n, err := w.Write(noise[:min(left, 64<<10)])
		if err != nil {
			return
		}
		left -= n
	}
}

// newSink starts a sink, which speaks HTTP/1.1 and HTTP/2, and returns its URL.
func newSink(t *testing.T) string {
	t.Helper()
	return "http://" + dualContainer(t, sink)
}

// zeros is a body of that many bytes.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(len(p), z.left)
	z.left -= n
	if z.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

// upload sends a body and returns what the function counted.
func (p *pod) upload(c *http.Client, size int, chunked bool) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.listen+"/", &zeros{size})
	require.NoError(p.t, err)
	if !chunked {
		req.ContentLength = int64(size)
	}
	r, err := c.Do(req)
	require.NoError(p.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	n, err := strconv.Atoi(string(text))
	require.NoError(p.t, err, string(text))
	return n
}

// download returns how many bytes came.
func (p *pod) download(c *http.Client, path string, size int) int {
	p.t.Helper()
	r, err := c.Get(fmt.Sprintf("http://%s%s?%d", p.listen, path, size))
	require.NoError(p.t, err)
	defer r.Body.Close()
	time.Sleep(200 * time.Millisecond) // a reader that begins slowly
	n, err := io.Copy(io.Discard, r.Body)
	require.NoError(p.t, err)
	return int(n)
}

// TestAnIdlePodIsSmall waits until a pod has given back what its start needed: at most 12 MB stay.
func TestAnIdlePodIsSmall(t *testing.T) {
	t.Parallel()
	p := startPlain(t, nil, "proxy", newSink(t))
	require.Equal(t, 1000, p.download(http.DefaultClient, "/length", 1000))
	require.Eventually(t, func() bool { return p.memory("VmRSS") <= 12_000_000 }, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, 1000, p.download(http.DefaultClient, "/length", 1000))
	t.Logf("%.1f MB", float64(p.memory("VmRSS"))/1e6)
}

// TestR6L9LargeBodiesTakeNoMemory sends bodies of a size that would show.
func TestR6L9LargeBodiesTakeNoMemory(t *testing.T) {
	size := full(200_000_000, 1_000_000_000)
	whole := full(50_000_000, 200_000_000) // a worker has all of it in memory
	front := startPlain(t, nil, "proxy", newSink(t))
	one, two := clientOf(t, "http1"), clientOf(t, "h2c")
	serve := startPlain(t, nil, "serve", "testdata/stream.py", "--max-body", "0")
	for _, test := range []struct {
		name string
		pod  *pod
		size int
		move func(p *pod, size int) int
	}{
		{"upload, spliced", front, size, func(p *pod, n int) int { return p.upload(one, n, false) }},
		{"upload, chunked", front, size, func(p *pod, n int) int { return p.upload(one, n, true) }},
		{"download, spliced", front, size, func(p *pod, n int) int { return p.download(one, "/length", n) }},
		{"download, chunked", front, size, func(p *pod, n int) int { return p.download(one, "/", n) }},
		{"upload by HTTP/2", front, size, func(p *pod, n int) int { return p.upload(two, n, false) }},
		{"download by HTTP/2", front, size, func(p *pod, n int) int { return p.download(two, "/", n) }},
		{"upload by HTTP/2 to a function of HTTP/2", nil, size, func(p *pod, n int) int { return p.upload(two, n, true) }},
		{"upload to a function of HTTP/2", nil, size, func(p *pod, n int) int { return p.upload(one, n, true) }},
		{"download from a function of HTTP/2", nil, size, func(p *pod, n int) int { return p.download(one, "/", n) }},
		{"upload to a worker", serve, whole, func(p *pod, n int) int { return p.upload(one, n, false) }},
		{"chunked upload to a worker", serve, whole, func(p *pod, n int) int { return p.upload(one, n, true) }},
		{"download from a worker that streams", serve, size, func(p *pod, n int) int { return p.download(one, "/", n) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.pod == nil { // one that was idle has given back what it needs anyway
				test.pod = startPlain(t, nil, "proxy", newSink(t), "--upstream-protocol", "h2c")
			}
			require.Equal(t, 1_000_000, test.move(test.pod, 1_000_000)) // what is needed once
			began, moved := time.Now(), 0
			grown := test.pod.grows(func() { moved = test.move(test.pod, test.size) })
			t.Logf("%d MB in %.1fs: %.1f MB more, %.1f MB in all", moved/1e6, time.Since(began).Seconds(),
				float64(grown)/(1<<20), float64(test.pod.memory("VmRSS"))/(1<<20))
			require.Equal(t, test.size, moved)
			require.Less(t, grown, int64(mostGrowth))
		})
	}
}
