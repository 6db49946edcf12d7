package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// variant is one way from the load to the function.
type variant struct {
	name  string
	start func(ctx context.Context, s *site) (*process, error) // nil: the function itself
	peer  bool                                                 // not ours: it may fail
	needs string                                               // a program without which it cannot be measured
	lacks string                                               // why it cannot be measured at all
	call  *call                                                // the function speaks HTTP/2, and so does who asks; nil: HTTP/1.1
	asks  func(ctx context.Context, address string) error      // what is the first answer; nil: one to the usual request
	under []string                                             // a program that runs fnpod, with its arguments
	env   []string                                             // what fnpod gets besides our environment
}

// site is where a sample runs: fresh for each.
type site struct {
	fnpod    string
	dir      string
	listen   string
	function *function
	variant  variant
}

// Names of variants that ratios refer to.
const (
	directName = "direct"
	nginxName  = "nginx"
	fnpodName  = "fnpod"
	beforeName = "fnpod before"
)

var (
	direct    = variant{name: directName}
	fnpodTCP  = variant{name: fnpodName, start: startFnpod}
	fnpodUnix = variant{name: "fnpod, unix socket to the function", start: startFnpodUnix}
	nginxBare = variant{name: nginxName, peer: true, start: func(ctx context.Context, s *site) (*process, error) { return startNginx(ctx, s, "") }}
	nginxSame = variant{name: "nginx with the fields that fnpod adds", peer: true, start: func(ctx context.Context, s *site) (*process, error) {
		return startNginx(ctx, s, nginxFields)
	}}
)

// another is fnpodTCP with another binary.
func another(binary string) variant {
	return variant{name: beforeName, start: func(ctx context.Context, s *site) (*process, error) {
		other := *s
		other.fnpod = binary
		return startFnpod(ctx, &other)
	}}
}

func startFnpod(ctx context.Context, s *site) (*process, error) {
	return startPod(ctx, s, "proxy", "http://"+s.function.tcp)
}

func startFnpodUnix(ctx context.Context, s *site) (*process, error) {
	return startPod(ctx, s, "proxy", "unix://"+s.function.unix)
}

// startPod starts fnpod as it is used: with its metrics, with logs of what is wrong, and with room for as many
// connections as nginx has.
func startPod(ctx context.Context, s *site, args ...string) (*process, error) {
	admin := filepath.Join(s.dir, "admin.sock")
	if err := os.RemoveAll(admin); err != nil {
		return nil, err
	}
	settings := []string{
		"--listen", s.listen, "--admin", "unix:" + admin, "--log-level", "warn",
		"--connections", "12000", "--drain-delay", "0s", "--drain-timeout", "1s",
	}
	at := slices.Index(args, "--") // what follows is the function's
	if at < 0 {
		at = len(args)
	}
	args = slices.Insert(args, at, settings...)
	command := append(slices.Clone(s.variant.under), s.fnpod)
	command = append(command, args...)
	return start(ctx, s.variant.env, command[0], command[1:]...)
}

// nginxFields make nginx tell the function what fnpod tells it.
const nginxFields = `
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "for=$remote_addr;host=\"$http_host\";proto=$scheme";
      proxy_set_header X-Request-Id $request_id;`

// nginxConfig is nginx with one worker, and connections to the function that stay open.
const nginxConfig = `daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections 12000; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_buffer_size 16m;
  proxy_buffers 8 64k;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  upstream function { server FUNCTION; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen LISTEN;
    location / {
      proxy_pass http://function;
      proxy_http_version 1.1;
      proxy_set_header Connection "";FIELDS
    }
  }
}
`

func startNginx(ctx context.Context, s *site, fields string) (*process, error) {
	return startNginxText(ctx, s, strings.Replace(nginxConfig, "FIELDS", fields, 1))
}

// startNginxText starts nginx with a configuration.
func startNginxText(ctx context.Context, s *site, text string) (*process, error) {
	config := filepath.Join(s.dir, "nginx.conf")
	text = strings.NewReplacer("DIR", s.dir, "LISTEN", s.listen, "FUNCTION", s.function.tcp, "FIELDS", "").Replace(text)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, nil, "nginx", "-e", "stderr", "-p", s.dir, "-c", config)
}

// running is a variant that answers.
type running struct {
	function *function
	target   *process // the function itself when nothing is in front of it
	address  string
	first    time.Duration // from the start of the target to its first answer
	dir      string
}

// optional tells that a run can go on without it.
func (v variant) optional() bool {
	if v.needs != "" {
		if _, err := exec.LookPath(v.needs); err != nil {
			return true
		}
	}
	return v.peer
}

// startError is why a variant never answered.
type startError struct{ error }

// Unwrap returns the cause.
func (e *startError) Unwrap() error { return e.error }

// startVariant starts the function and what is in front of it, and waits for an answer. It tries again when somebody else
// took a port in the moment in which it was free.
func startVariant(ctx context.Context, fnpod string, v variant) (r *running, err error) {
	for range 3 {
		if r, err = startOnce(ctx, fnpod, v); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return r, err
}

func startOnce(ctx context.Context, fnpod string, v variant) (*running, error) {
	dir, err := os.MkdirTemp("", "fnpod-bench")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the worker of nginx is somebody else, and puts large bodies there
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r := &running{dir: dir}
	if r.function, err = startFunction(ctx, dir, v.call); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r.target, r.address = r.function.process, r.function.tcp
	if v.start == nil {
		return r, nil
	}
	if err := r.startProxy(ctx, fnpod, v); err != nil {
		return nil, r.stop(&startError{err})
	}
	return r, nil
}

func (r *running) startProxy(ctx context.Context, fnpod string, v variant) error {
	if v.needs != "" {
		if _, err := exec.LookPath(v.needs); err != nil {
			return err
		}
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	target, err := v.start(ctx, &site{fnpod: fnpod, dir: r.dir, listen: address, function: r.function, variant: v})
	if err != nil {
		return err
	}
	r.target, r.address = target, address
	target.ask = v.asks
	if v.asks == nil && v.call != nil {
		target.ask = askHTTP2(v.call)
	}
	if r.first, err = firstAnswer(ctx, target, address, 100*time.Microsecond); err != nil {
		return fmt.Errorf("%w; it wrote: %s", err, target.written())
	}
	return nil
}

// stop ends everything; an error that is not nil comes first.
func (r *running) stop(err error) error {
	if r.target != r.function.process {
		if stopped := r.target.stop(); err == nil {
			err = stopped
		}
	}
	if stopped := r.function.stop(); err == nil {
		err = stopped
	}
	if removed := os.RemoveAll(r.dir); err == nil {
		err = removed
	}
	return err
}
