package nuclio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog"
)

// Shell is a function that is a script or a command, of which each event has a process of its own. It may be used by
// any number of goroutines.
type Shell struct {
	settings  *Settings
	arguments string      // of events that bring none
	fields    [][2]string // of all answers
	path      string
	args      []string
}

// argumentsField brings the arguments of one event.
const argumentsField = "X-Nuclio-Arguments"

// NewShell finds the script in folder, or else the command in the folders of $PATH. It is executed as it is, never read
// by a shell: an event's arguments are arguments.
func (s *Settings) NewShell(folder string) (*Shell, error) {
	file, _, err := SplitHandler(s.Spec.Handler)
	if err != nil {
		return nil, err
	}
	sh := &Shell{settings: s}
	if sh.arguments, err = s.Spec.RuntimeAttributes.Text("arguments"); err != nil {
		return nil, err
	}
	if err := sh.readFields(s.Spec.RuntimeAttributes); err != nil {
		return nil, err
	}
	script := filepath.Join(folder, file)
	if info, err := os.Stat(script); err == nil && info.Mode().IsRegular() {
		if sh.path, err = exec.LookPath("sh"); err != nil {
			return nil, fmt.Errorf("spec.handler %q: there is no shell for the script: %w", s.Spec.Handler, err)
		}
		sh.args = []string{"sh", script}
		return sh, nil
	}
	if sh.path, err = exec.LookPath(file); err != nil {
		return nil, fmt.Errorf("spec.handler %q: is no file in %s and no command: %w", s.Spec.Handler, folder, err)
	}
	sh.args = []string{file}
	return sh, nil
}

func (sh *Shell) readFields(a Attributes) error {
	headers, err := a.part("responseHeaders")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, ok := headers[name].(string)
		if !ok {
			continue // as where it comes from: only text is sent
		}
		if !http1.ValidName(name) || !http1.ValidValue(value) {
			return fmt.Errorf("responseHeaders: %s is no header", name)
		}
		sh.fields = append(sh.fields, [2]string{name, value})
	}
	return nil
}

// Config is how the processes run. Their environment is that of the event, and nothing of ours.
func (sh *Shell) Config() watchdog.ForkConfig {
	s := sh.settings
	c := watchdog.DefaultForkConfig()
	c.Mode, c.Path, c.Args, c.Arguments = watchdog.Serializing, sh.path, sh.args, sh.argumentsOf
	c.Combined, c.FailedOutput, c.Finish = true, true, true
	c.Timeout, c.Grace = s.EventTimeout, time.Millisecond
	c.ContentType, c.Fields, c.Variables = plainText, sh.addFields, sh.variables
	c.Env = []string{
		"NUCLIO_FUNCTION_NAME=" + s.Metadata.Name, "NUCLIO_FUNCTION_DESCRIPTION=" + s.Spec.Description,
		"NUCLIO_FUNCTION_VERSION=" + strconv.Itoa(int(s.Spec.Version)), "NUCLIO_FUNCTION_HANDLER=" + s.Spec.Handler,
	}
	for _, v := range s.Spec.Env {
		c.Env = append(c.Env, v.Name+"="+v.Value)
	}
	return c
}

// argumentsOf splits at each space, without quotes, as where it comes from.
func (sh *Shell) argumentsOf(x watchdog.Exchange) []string {
	text := sh.arguments
	if v, ok := http1.FindName(x.Request().Fields, argumentsField); ok && len(v) > 0 {
		text = string(v)
	}
	return strings.Split(text, " ")
}

func (sh *Shell) addFields(x watchdog.Exchange) error {
	for _, f := range sh.fields {
		if err := x.AddField([]byte(f[0]), []byte(f[1])); err != nil {
			return err
		}
	}
	return nil
}

// variables adds those of an event.
func (sh *Shell) variables(v *watchdog.Variables, x watchdog.Exchange) {
	if c, ok := x.(*Call); ok && c.event != nil {
		c.event.variables(v)
		return
	}
	r := x.Request()
	path, _, _ := bytes.Cut(r.Target, []byte{'?'})
	contentType, _ := http1.FindName(r.Fields, "Content-Type")
	e := wireEvent{ID: newID(), ContentType: string(contentType), Path: cleanPath(path), Method: string(r.Method), Timestamp: time.Now().Unix(), ShardID: -1}
	e.Trigger.Kind, _, _ = strings.Cut(x.Scheme(), "/")
	e.variables(v)
}

// variables are what a process is told of its event.
func (e *wireEvent) variables(v *watchdog.Variables) {
	class := "async"
	if e.Trigger.Kind == KindHTTP {
		class = "sync"
	}
	for _, pair := range [][2]string{
		{"ID", e.ID},
		{"CONTENT_TYPE", e.ContentType},
		{"TIMESTAMP", time.Unix(e.Timestamp, 0).UTC().Format(time.RFC3339)},
		{"PATH", e.Path},
		{"URL", e.URL},
		{"METHOD", e.Method},
		{"SHARD_ID", strconv.Itoa(e.ShardID)},
		{"NUM_SHARDS", strconv.Itoa(e.NumShards)},
		{"TYPE", e.Type},
		{"TYPE_VERSION", e.TypeVersion},
		{"VERSION", e.Version},
	} {
		v.SetText("NUCLIO_EVENT_"+pair[0], pair[1])
	}
	v.SetText("NUCLIO_TRIGGER_CLASS", class)
	v.SetText("NUCLIO_TRIGGER_KIND", e.Trigger.Kind)
}

// newID returns a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Failed answers an event whose process ended badly, if that is what err says, and returns what is left of it.
func (sh *Shell) Failed(x watchdog.Exchange, err error) error {
	failed, ok := errors.AsType[*watchdog.FailedError](err)
	if !ok {
		return err
	}
	if _, lingers := errors.AsType[*watchdog.Lingering](err); lingers {
		return err
	}
	text := fmt.Appendf(nil, "Failed to run shell command.\nError: %v\nOutput:%s", failed.Exit, failed.Output)
	x.Respond(500, int64(len(text)))
	if err := sh.addFields(x); err != nil {
		return err
	}
	if _, err := x.Write(text); err != nil {
		return err
	}
	return x.Finish()
}
