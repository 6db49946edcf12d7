package watchdog_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestParseProbeNamesValueAndForms(t *testing.T) {
	for _, s := range []string{
		"", "8080", "tcp:", "tcp:localhost", "tcp:localhost:http", "tcp:localhost:0", "tcp:localhost:65536",
		"unix:", "unix://", "file:", "https://localhost/", "http:", "http://", "http://:x/", "http:localhost:80/",
		"http://user@localhost/", "http://localhost:80/#top", "http://localhost:99999/", "http://lo calhost/",
		"http://unix:", "http://unix::/up", "http://unix:/run/f.sock:/?a b", "http://localhost/?\u00e9", "None", "exec:true",
	} {
		_, err := watchdog.ParseProbe(s)
		require.Error(t, err, s)
		require.ErrorContains(t, err, fmt.Sprintf("%q", s))
		require.ErrorContains(t, err, watchdog.ProbeForms, s)
	}
}

func TestParseProbeKeepsWhatWasGiven(t *testing.T) {
	for _, s := range []string{
		"none", "tcp:127.0.0.1:8080", "tcp://[::1]:8080", "tcp::80", "unix:/run/f.sock", "unix:///run/f.sock", "unix:f.sock",
		"file:/tmp/.lock", "http://localhost", "http://localhost:8080/_/health?x=%20", "http://[::1]:8080/",
		"http://unix:/run/f.sock", "http://unix:/run/f.sock:", "http://unix:/run/f.sock:/up?x=1",
	} {
		p, err := watchdog.ParseProbe(s)
		require.NoError(t, err)
		require.Equal(t, s, p.String())
	}
	require.Equal(t, "none", watchdog.Probe{}.String())
	require.NoError(t, watchdog.Probe{}.Check(t.Context()))
}

func probe(t *testing.T, s string) watchdog.Probe {
	t.Helper()
	p, err := watchdog.ParseProbe(s)
	require.NoError(t, err)
	return p
}

// answering listens and gives every connection the same answer after reading
// a head. It returns the address and the heads it read.
func answering(t *testing.T, network, address, answer string) (string, <-chan string) {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	heads := make(chan string, 16) // more than any test sends
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := conn.Read(buf)
			_, _ = conn.Write([]byte(answer))
			conn.Close()
			heads <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { l.Close(); <-over })
	return l.Addr().String(), heads
}

func TestProbeOfAPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := probe(t, "tcp:"+l.Addr().String())
	require.NoError(t, p.Check(t.Context()))
	require.NoError(t, l.Close())
	require.ErrorContains(t, p.Check(t.Context()), "probe tcp:"+l.Addr().String())
}

func TestProbeOfAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "up")
	p := probe(t, "file:"+path)
	require.ErrorIs(t, p.Check(t.Context()), os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, p.Check(t.Context()))
	require.Error(t, probe(t, "file:"+dir).Check(t.Context()), "a directory is no sign")
}

func TestProbeOfASocketFileNeedsItsListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	for _, s := range []string{"file:" + path, "unix:" + path} {
		require.NoError(t, probe(t, s).Check(t.Context()))
	}
	require.NoError(t, l.Close())
	for _, s := range []string{"file:" + path, "unix:" + path} {
		require.Error(t, probe(t, s).Check(t.Context()), "the file is left, the listener is not")
	}
}

func TestProbeOverHTTP(t *testing.T) {
	tests := []struct {
		answer string
		err    string
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.0 204 No Content\r\n\r\n", ""},
		{"HTTP/1.1 399\r\n\r\n", ""},
		{"HTTP/1.1 302 Found\nLocation: /x\n\n", ""},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", "status 400"},
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"},
		{"HTTP/1.1 103 Early Hints\r\n\r\n", "status 103"},
		{"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"},
		{"HTTP/2 200 OK\r\n\r\n", "not HTTP"},
		{"SSH-2.0-OpenSSH\r\n", "not HTTP"},
		{strings.Repeat("x", 10_000), "not HTTP"},
		{"HTTP/1.1 200", "EOF"},
		{"", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.answer[:min(len(tt.answer), 20)], func(t *testing.T) {
			address, heads := answering(t, "tcp", "127.0.0.1:0", tt.answer)
			err := probe(t, "http://"+address+"/up?x=1").Check(t.Context())
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
			head := <-heads
			require.True(t, strings.HasPrefix(head, "GET /up?x=1 HTTP/1.1\r\nHost: "+address+"\r\n"), head)
			require.True(t, strings.HasSuffix(head, "\r\nConnection: close\r\n\r\n"), head)
		})
	}
}

func TestProbeOverHTTPOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.sock")
	_, heads := answering(t, "unix", path, "HTTP/1.1 200 OK\r\n\r\n")
	require.NoError(t, probe(t, "http://unix:"+path+":/up").Check(t.Context()))
	require.True(t, strings.HasPrefix(<-heads, "GET /up HTTP/1.1\r\nHost: localhost\r\n"))
	require.NoError(t, probe(t, "http://unix:"+path).Check(t.Context()))
	require.True(t, strings.HasPrefix(<-heads, "GET / HTTP/1.1\r\n"))
}

func TestProbeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and never answers
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	p := probe(t, "http://"+l.Addr().String())
	checked := make(chan error)
	go func() { checked <- p.Check(ctx) }()
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	cancel()
	require.Error(t, <-checked)
}

func FuzzParseProbe(f *testing.F) {
	for _, s := range []string{"none", "tcp:a:1", "http://unix:/s:/p", "http://h:1/p?q", "file:///x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := watchdog.ParseProbe(s)
		if err != nil {
			require.Equal(t, watchdog.Probe{}, p)
			return
		}
		require.Equal(t, s, p.String())
		request := watchdog.ProbeRequest(p)
		require.Equal(t, 6, strings.Count(request, "\n"), "nothing of the value becomes a line of its own")
		line, _, _ := strings.Cut(request, "\r\n")
		require.Equal(t, 2, strings.Count(line, " "), "nor a part of the request line")
	})
}

func FuzzStatusOf(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n"))
	f.Add([]byte("HTTP/1.0 999\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		status, ok := watchdog.StatusOf(line)
		if ok {
			require.True(t, strings.HasPrefix(string(line[9:]), itoa(status)), string(line))
			require.GreaterOrEqual(t, status, 100)
			require.Less(t, status, 1000)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) R 1 1 2) S 7 12 12 0 -1 4194304"))
	f.Add([]byte("1 (x) Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = watchdog.ParseStat(b) // must not panic
	})
}

func TestTheNameOfAProcessCannotForgeItsStat(t *testing.T) {
	state, parent, group, err := watchdog.ParseStat([]byte("12 (a) R 1 1 (b) S 7 13 12 0 -1 4194304 0"))
	require.NoError(t, err)
	require.Equal(t, byte('S'), state)
	require.Equal(t, 7, parent)
	require.Equal(t, 13, group)
}
