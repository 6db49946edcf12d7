package hostile

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Pair is where a server listens, and the function behind that port.
type Pair struct{ Listen, Function string }

// NginxConfig is nginx as a proxy that streams, with connections to the function that stay open and with the limits the
// table speaks of. It serves all pairs, and writes into dir only.
func NginxConfig(dir string, pairs []Pair) string {
	var servers strings.Builder
	for i, p := range pairs {
		fmt.Fprintf(&servers, `
  upstream function%d { server %s; keepalive 16; }
  server {
    listen %s;
    server_name function;
    location / {
      proxy_pass http://function%d;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }`, i, p.Function, p.Listen, i)
	}
	return strings.NewReplacer("DIR", dir, "SERVERS", servers.String(), "BODY", strconv.Itoa(MaxBody)).Replace(`daemon off;
worker_processes 1;
pid DIR/nginx.pid;
error_log stderr emerg;
events { worker_connections 1000; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  proxy_max_temp_file_size 0;
  client_header_timeout 2s;
  client_body_timeout 2s;
  client_max_body_size BODY;
  proxy_read_timeout 2s;
  keepalive_requests 1000000;SERVERS
}
`)
}

// NginxCommand starts nginx with the configuration in a file, which writes into dir.
func NginxCommand(dir, config string) (program string, args []string) {
	return Program("nginx"), []string{"-e", "stderr", "-p", dir, "-c", config}
}

// HAProxyConfig is HAProxy with the same task.
func HAProxyConfig(pairs []Pair) string {
	var b strings.Builder
	b.WriteString(`global
  nbthread 1
  maxconn 1000
defaults
  mode http
  http-reuse always
  option forwardfor
  timeout connect 2s
  timeout client 2s
  timeout server 2s
  timeout http-request 2s
  timeout http-keep-alive 75s
`)
	for i, p := range pairs {
		fmt.Fprintf(&b, "listen function%d\n  bind %s\n  server s %s\n", i, p.Listen, p.Function)
	}
	return b.String()
}

// HAProxyCommand starts HAProxy with the configuration in a file.
func HAProxyCommand(config string) (program string, args []string) {
	return Program("haproxy"), []string{"-db", "-f", config}
}

// Program finds a server that is not in the path of every user.
func Program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}
