package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// forkingCmd starts a process for each request as a plain Go program does it: net/http, os/exec, the body and the output
// whole in memory, the request's fields as variables.
type forkingCmd struct {
	Listen  string   `help:"Address to listen on."`
	Command []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

// Run serves until standard input ends.
func (c *forkingCmd) Run() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", c.Listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, http.HandlerFunc(c.serve)) }() //nolint:gosec // the load is ours
	return untilParentEnds(failed)
}

func (c *forkingCmd) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	command := c.Command
	if command[0] == "--" {
		command = command[1:]
	}
	cmd := exec.CommandContext(r.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "Http_Method="+r.Method, "Http_Path="+r.URL.Path, "Http_Query="+r.URL.RawQuery, "Http_Host="+r.Host)
	for name, values := range r.Header {
		cmd.Env = append(cmd.Env, "Http_"+strings.ReplaceAll(name, "-", "_")+"="+strings.Join(values, ","))
	}
	var output bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), &output, os.Stderr
	if err := cmd.Run(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(output.Bytes()) // the client may have left
}

func startForking(ctx context.Context, s *site, command []string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, []string{childVariable + "=1"}, self, append([]string{"forking", "--listen", s.listen, "--"}, command...)...)
}
