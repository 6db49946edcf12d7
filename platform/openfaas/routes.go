package openfaas

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fnpod/fnpod/proxy"
)

// Lock is the file that health checks look at. The zero value is no file, and always there.
type Lock struct {
	Path    string
	removed atomic.Bool
}

// Create writes the file, and its directory if that is missing.
func (l *Lock) Create() error {
	if l.Path == "" {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(l.Path), 0o755)
	if err == nil {
		err = os.WriteFile(l.Path, nil, 0o660)
	}
	if err != nil {
		return fmt.Errorf("cannot write the lock file %s (suppress_lock=true does without): %w", l.Path, err)
	}
	return nil
}

// Remove removes the file at the beginning of the end.
func (l *Lock) Remove() error {
	l.removed.Store(true)
	if l.Path == "" {
		return nil
	}
	if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the lock file: %w", err)
	}
	return nil
}

// Exists reports whether the pod may be called healthy. Operators remove the file to fail a pod.
func (l *Lock) Exists() bool {
	if l.Path == "" {
		return !l.removed.Load()
	}
	_, err := os.Stat(l.Path)
	return err == nil
}

const (
	healthRoute = "/_/health"
	readyRoute  = "/_/ready" // the function's own for the classic watchdog
)

// Routes answers the watchdog's own routes.
type Routes struct {
	Settings *Settings
	Lock     *Lock
	Ready    func() bool // the function accepts requests
	Full     func() bool // as many requests run as may
	Gate     *Gate       // nil: every request may pass
}

// Own implements proxy.Hooks.Own.
func (r *Routes) Own(x *proxy.Exchange) bool {
	classic := r.Settings.Classic
	switch p := path(x); {
	case p == healthRoute:
		return r.health(x)
	case p == readyRoute && classic == nil:
		return r.ready(x)
	case r.Gate != nil && r.Gate.Pass(x):
		return true
	case classic != nil && !classic.answers(x.Request().Method):
		return respond(x, 405, "")
	default:
		return false
	}
}

// Route reports a request for one of the watchdog's own routes, which are neither counted nor logged.
func (r *Routes) Route(x *proxy.Exchange) bool {
	p := path(x)
	return p == healthRoute || p == readyRoute && r.Settings.Classic == nil
}

// path is the target without its query.
func path(x *proxy.Exchange) string {
	target := x.Request().Target
	for i, c := range target {
		if c == '?' {
			return string(target[:i])
		}
	}
	return string(target)
}

func (r *Routes) health(x *proxy.Exchange) bool {
	switch {
	case string(x.Request().Method) != "GET":
		return respond(x, 405, "")
	case !r.Lock.Exists():
		return respond(x, 503, "")
	default:
		return respond(x, 200, "OK")
	}
}

// ready says 503 also until the function listens: requests before that would be errors.
func (r *Routes) ready(x *proxy.Exchange) bool {
	switch {
	case string(x.Request().Method) != "GET":
		return respond(x, 405, "")
	case !r.Lock.Exists() || !r.Ready():
		return respond(x, 503, "")
	case r.Full():
		return respond(x, 429, "")
	case r.Settings.ReadyPath != "":
		x.Bypass([]byte(r.Settings.ReadyPath))
		return false
	default:
		return respond(x, 200, "")
	}
}

// respond answers without the function. Errors are the client's, who has left.
func respond(x *proxy.Exchange, code int, text string, fields ...[2]string) bool {
	x.Respond(code, int64(len(text)))
	for _, f := range fields {
		_ = x.AddField([]byte(f[0]), []byte(f[1]))
	}
	if text != "" {
		_ = x.AddField([]byte("Content-Type"), []byte("text/plain; charset=utf-8"))
		_, _ = x.Write([]byte(text))
	}
	_ = x.Finish()
	return true
}
