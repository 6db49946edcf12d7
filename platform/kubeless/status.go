package kubeless

import (
	"errors"
	"fmt"
	"html"
	"net/http"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// Why a function has given no answer. Errors of calls wrap one of them, if not one of workers, watchdog or proxy.
var (
	ErrRaised   = errors.New("function raised an exception")
	ErrNoAnswer = errors.New("function returned something that is no answer")
	ErrBody     = errors.New("body is not the JSON that it says it is")
)

// Raised is what a function raised, or why it was not called. Clients do not see it, except of an ErrNoAnswer.
type Raised struct {
	Language      string // of the function
	Type, Message string // in the words of the language
}

// Error returns type and message.
func (e *Raised) Error() string { return fmt.Sprintf("function failed: %s: %s", e.Type, e.Message) }

// Is makes it one of the errors above.
func (e *Raised) Is(target error) bool {
	switch e.Type {
	case "UnusableResult":
		return target == ErrNoAnswer
	case "UnusableBody":
		return target == ErrBody
	}
	return target == ErrRaised
}

// Public implements proxy.Public.
func (e *Raised) Public() string {
	text := ""
	if e.Is(ErrNoAnswer) {
		text = e.Message
	}
	return words(e.Language, http.StatusInternalServerError, text)
}

// words is the body of an answer of ours: a page, as bottle makes it, or what Node and the proxy of the others say.
func words(language string, code int, text string) string {
	title := http.StatusText(code)
	switch {
	case language == Python:
		return fmt.Sprintf("<!DOCTYPE html>\n<title>Error: %d %s</title>\n<h1>Error: %d %s</h1>\n<pre>%s</pre>\n", code, title, code, title, html.EscapeString(text))
	case language == Server && code == http.StatusInternalServerError:
		return "Error: " + text
	case text != "":
		return text
	default:
		return title
	}
}

// typeOf is the type of such bodies.
func typeOf(language string) string {
	switch language {
	case Server:
		return "text/plain; charset=utf-8"
	case Node:
		return "text/html; charset=utf-8"
	default:
		return "text/html; charset=UTF-8"
	}
}

// late is what is said of a call that took longer than FUNC_TIMEOUT.
func (s *Settings) late() string {
	if s.Language == Server {
		return "Timeout exceeded"
	}
	return "Timeout while processing the function"
}

// Statuses says how failures are answered.
func (s *Settings) Statuses() []proxy.Status {
	all := []proxy.Status{
		{Err: ErrRaised, Code: 500, Label: "function_error"},
		{Err: ErrNoAnswer, Code: 500, Label: "function_error"},
		{Err: ErrBody, Code: 500, Label: "function_error"},
		{Err: workers.ErrTimeout, Code: 408, Label: "timeout", Upstream: metrics.UpstreamTimeout},
		{Err: watchdog.ErrRunTimeout, Code: 408, Label: "timeout", Upstream: metrics.UpstreamTimeout},
		{Err: proxy.ErrTimeout, Code: 408, Label: "timeout", Upstream: metrics.UpstreamTimeout},
		{Err: workers.ErrMemory, Code: 500, Label: "worker_oom", Upstream: metrics.UpstreamWorkerOOM},
		{Err: workers.ErrDied, Code: 500, Label: "worker_exit", Upstream: metrics.UpstreamWorkerExit},
		{Err: workers.ErrProtocol, Code: 500, Label: "worker_protocol", Upstream: metrics.UpstreamWorkerProtocol},
		{Err: workers.ErrBadAnswer, Code: 500, Label: "malformed", Upstream: metrics.UpstreamMalformed},
		{Err: watchdog.ErrMemory, Code: 500, Label: "function_oom", Upstream: metrics.UpstreamWorkerOOM},
		{Err: watchdog.ErrFailed, Code: 500, Label: "worker_exit", Upstream: metrics.UpstreamWorkerExit},
		{Err: watchdog.ErrNotStarted, Code: 500, Label: "not_started", Upstream: metrics.UpstreamConnect},
		{Code: 413, Label: "body_size"},
		{Code: 500, Label: "panic"},
	}
	if s.Language == Server {
		for _, label := range []string{"connect", "early_close", "reset", "malformed"} {
			all = append(all, proxy.Status{Code: 500, Label: label, Text: "Error: " + label})
		}
	}
	for i := range all {
		st := &all[i]
		st.Fields = "Content-Type: " + typeOf(s.Language) + "\r\nFnpod-Error: " + st.Label + "\r\n"
		switch {
		case st.Text != "" || st.Label == "function_error": // which has its own words
		case st.Code == 408:
			st.Text = words(s.Language, st.Code, s.late())
		case s.Language == Server:
			st.Text = words(s.Language, st.Code, st.Label)
		default:
			st.Text = words(s.Language, st.Code, "")
		}
	}
	return all
}

// Failed turns an error of a pool of workers into what the statuses know. All others stay as they are.
func (s *Settings) Failed(err error) error {
	if raised, ok := errors.AsType[*workers.HandlerError](err); ok {
		return &Raised{Language: s.Language, Type: raised.Type, Message: raised.Message}
	}
	return err
}
