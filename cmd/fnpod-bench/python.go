package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Functions of the variants: as many bytes as the small server's, or what came.
const (
	pongPython = "def handle(req):\n    return \"pong\"\n"
	echoPython = "def handle(req):\n    return req.body\n"
	pongNode   = "module.exports.handle = () => 'pong'\n"
	// wsgiText is the function for servers of Python: WSGI, and ASGI.
	wsgiText = `def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"pong"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), (b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"pong"})
`
)

// serving is fnpod with warm workers for a handler.
func serving(name, file, text string, flags ...string) variant {
	return variant{name: name, start: func(ctx context.Context, s *site) (*process, error) {
		handler := filepath.Join(s.dir, file)
		if err := os.WriteFile(handler, []byte(text), 0o644); err != nil {
			return nil, err
		}
		return startPod(ctx, s, append([]string{"serve", handler}, flags...)...)
	}}
}

// servingNode is the same where there is Node.
func servingNode(name, text string, flags ...string) variant {
	v := serving(name, "handler.js", text, flags...)
	v.needs = "node"
	return v
}

// serveVariant is fnpod with Python workers.
func serveVariant(python string, flags ...string) variant {
	return serving(serveName, "handler.py", pongPython, append([]string{"--workers-interpreter", python}, flags...)...)
}

const serveName = "fnpod serve"

// workersOf are the flags for a pool of n.
func workersOf(n int) []string {
	count := strconv.Itoa(n)
	return []string{"--workers-min", count, "--workers-max", count}
}

// pythonServers are the usual servers of Python with n processes each.
func pythonServers(n int) []variant {
	count := strconv.Itoa(n)
	var here []variant
	for _, server := range []struct {
		name string
		argv func(listen string) []string
	}{
		{"gunicorn", func(listen string) []string {
			return []string{"gunicorn", "--workers", count, "--bind", listen, "--keep-alive", "75", "--worker-class", "gthread", "--threads", "4", "app:app"}
		}},
		{"waitress", func(listen string) []string { return []string{"waitress-serve", "--listen=" + listen, "app:app"} }},
		{"uvicorn", func(listen string) []string {
			host, port, _ := strings.Cut(listen, ":")
			return []string{"uvicorn", "--host", host, "--port", port, "--workers", count, "--log-level", "error", "--no-access-log", "app:asgi"}
		}},
	} {
		here = append(here, variant{name: server.name, peer: true, start: func(ctx context.Context, s *site) (*process, error) {
			if err := os.WriteFile(filepath.Join(s.dir, "app.py"), []byte(wsgiText), 0o644); err != nil {
				return nil, err
			}
			argv := server.argv(s.listen)
			return start(ctx, []string{"PYTHONPATH=" + s.dir}, argv[0], argv[1:]...)
		}})
	}
	return here
}

// interpreter finds the Python that python3 stands for: version managers put a shell script in its place, whose start
// would be measured as ours.
func interpreter(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return "", fmt.Errorf("python3: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
