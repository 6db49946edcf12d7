package nuclio

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/fnpod/fnpod/broker"
	"github.com/fnpod/fnpod/proxy/http1"
)

// Event is what cron and kickstart send.
type Event struct {
	Body, Method, Path string
	Headers            [][2]string
}

// read reads the event of a trigger's attributes.
func (e *Event) read(a Attributes) error {
	part, err := a.part("event")
	if err != nil {
		return err
	}
	var errs [4]error
	var headers Attributes
	e.Body, errs[0] = part.Text("body")
	e.Method, errs[1] = part.Text("method")
	e.Path, errs[2] = part.Text("path")
	headers, errs[3] = part.part("headers")
	for name := range headers {
		value, err := headers.Text(name)
		if err == nil && (!http1.ValidName([]byte(name)) || !http1.ValidValue([]byte(value))) {
			err = errors.New("event.headers: " + name + " is no header")
		}
		if err != nil {
			return err
		}
		e.Headers = append(e.Headers, [2]string{name, value})
	}
	return errors.Join(errs[:]...)
}

// Call is an event on its way through a worker, as an Exchange without a client: workers.Pool runs it. It is used once.
type Call struct {
	source  *Source
	request http1.Request
	body    []byte
	event   *wireEvent // of a message; nil: the event is made of request

	Status int    // of the answer; 0 if there is none
	Text   []byte // the beginning of its body
}

// NewCall returns the event of a trigger.
func NewCall(src *Source) *Call {
	e := &src.Event
	c := &Call{source: src, body: []byte(e.Body)}
	c.request.Method, c.request.Target, c.request.Minor = []byte(e.Method), []byte(e.Path), 1
	c.request.Length = int64(len(e.Body))
	for _, h := range e.Headers {
		name := []byte(h[0])
		c.request.Fields = append(c.request.Fields, http1.Field{Name: name, Value: []byte(h[1]), Kind: http1.KindOf(name)})
	}
	return c
}

// messageScheme begins the scheme of messages. Our workers find what is known of one as JSON in messageField, which means
// nothing in a request that has another scheme.
const (
	messageScheme = "message/"
	messageField  = "Fnpod-Event"
)

// NewMessage returns the event of a message that came by a trigger.
func NewMessage(src *Source, m *broker.Message) (*Call, error) {
	c := &Call{source: src, body: m.Body}
	e := &wireEvent{
		ID: m.ID, Headers: map[string]any{}, Fields: map[string]string{}, Path: m.Topic, Size: len(m.Body), Timestamp: time.Now().Unix(), ShardID: -1,
		Trigger: wireTrigger{src.Kind, src.Name},
	}
	if e.ID == "" {
		e.ID = newID()
	}
	if src.Kind == KindMQTT {
		e.Topic, e.URL = m.Topic, src.Address
	}
	for name, values := range m.Header {
		all := make([]any, len(values))
		for i, v := range values {
			all[i] = v
		}
		e.Headers[name] = all
	}
	facts, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	e.Body, c.event = m.Body, e
	c.request.Minor, c.request.Length = 1, int64(len(m.Body))
	name := []byte(messageField)
	c.request.Fields = []http1.Field{{Name: name, Value: []byte(asciiJSON(facts)), Kind: http1.KindOf(name)}}
	return c, nil
}

// The methods of workers.Exchange.

// Request implements workers.Exchange.
func (c *Call) Request() *http1.Request { return &c.request }

// AppendID implements workers.Exchange.
func (c *Call) AppendID(b []byte) []byte { return append(b, c.source.Name...) }

// Peer implements workers.Exchange.
func (c *Call) Peer() string { return "" }

// Scheme implements workers.Exchange.
func (c *Call) Scheme() string {
	if c.event != nil {
		return messageScheme + c.source.Name
	}
	return c.source.scheme
}

// Remaining implements workers.Exchange.
func (c *Call) Remaining() time.Duration { return 0 }

// Body implements workers.Exchange.
func (c *Call) Body() ([]byte, bool) { return c.body, true }

// ReadBody implements workers.Exchange.
func (c *Call) ReadBody([]byte) (int, error) { return 0, io.EOF }

// Continue implements workers.Exchange.
func (c *Call) Continue() error { return nil }

// StopBody implements workers.Exchange.
func (c *Call) StopBody(wait func()) { wait() }

// OnInterrupt implements workers.Exchange. Nobody interrupts.
func (c *Call) OnInterrupt(interface{ Interrupt() }) error { return nil }

// Respond implements workers.Exchange.
func (c *Call) Respond(status int, _ int64) { c.Status = status }

// AddField implements workers.Exchange.
func (c *Call) AddField(_, _ []byte) error { return nil }

// Write implements workers.Exchange.
func (c *Call) Write(p []byte) (int, error) {
	c.Text = append(c.Text, p[:min(len(p), 256-min(len(c.Text), 256))]...)
	return len(p), nil
}

// AddTrailer implements workers.Exchange.
func (c *Call) AddTrailer(_, _ []byte) error { return nil }

// Finish implements workers.Exchange.
func (c *Call) Finish() error { return nil }
