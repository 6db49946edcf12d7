package function

import (
	"errors"
	"net/http"
	"syscall"
)

// ServeOn is Serve on given descriptors, without HELLO and READY. It closes both pipes.
func ServeOn(in, out, lane, window, concurrency int, h http.Handler) error {
	w, err := newWorker(settings{in: in, out: out, lane: lane, laneIn: window, laneOut: window, concurrency: concurrency}, h)
	if err != nil {
		return err
	}
	err = w.run()
	if f := w.reader.file; f != nil {
		return errors.Join(err, f.Close(), w.output.Close())
	}
	return errors.Join(err, syscall.Close(in), w.output.Close())
}

// ReadSettings tells what readSettings makes of an environment.
func ReadSettings(environ ...string) error {
	_, err := readSettings(environ, func(string) error { return nil })
	return err
}

// ParseFrame is parseFrame, as the fuzz test needs it.
func ParseFrame(b []byte) (meta, body []byte, need int, err error) {
	f, need, err := parseFrame(b)
	return f.meta, f.body, need, err
}
