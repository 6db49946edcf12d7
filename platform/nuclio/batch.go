package nuclio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/workers"
)

// Defaults of the original.
const (
	defaultBatch     = 10
	defaultBatchTime = time.Second
)

// batchType is the type of an answer that has one for each event of a batch.
const batchType = "application/vnd.fnpod.batch+json"

// batching reads how events are collected; size 0: they are not.
func (src *Source) batching(b *Batch) (err error) {
	if b == nil || b.Mode != "enable" {
		return nil
	}
	if src.Kind != KindHTTP {
		return errors.New("batch: only http triggers have it")
	}
	if src.batch = b.Size; b.Size == 0 {
		src.batch = defaultBatch
	}
	if src.batch < 1 || src.batch > 10_000 {
		return fmt.Errorf("batchSize %d: allowed are 1 to 10000", b.Size)
	}
	src.batchTime = defaultBatchTime
	if b.Timeout != "" {
		if src.batchTime, err = time.ParseDuration(b.Timeout); err != nil || src.batchTime <= 0 {
			return fmt.Errorf("batch timeout %q: must be a duration of more than 0, such as 1s", b.Timeout)
		}
	}
	return nil
}

// Batches reports whether the events of the trigger go to workers in batches.
func (src *Source) Batches() bool { return src.batch > 0 }

// Batcher collects events, until there are enough or the first has waited enough, and lets a worker run them as one. Any
// number of goroutines may use it.
type Batcher struct {
	source *Source
	queue  *queue.Queue
	run    func(workers.Exchange) error

	mu      sync.Mutex
	current *batch // guarded by mu; nil: nobody waits
}

// NewBatcher returns a Batcher for a trigger, whose batches wait in q for a worker and are run by run.
func NewBatcher(src *Source, q *queue.Queue, run func(workers.Exchange) error) *Batcher {
	return &Batcher{source: src, queue: q, run: run}
}

// batch is what a worker gets at once. What is in it belongs to whoever took it from Batcher.current.
type batch struct {
	events  []*wireEvent
	members []*member
	timer   *time.Timer
}

// member waits for the answer to its event.
type member struct {
	done   chan struct{}
	answer *reply // nil: none; for the body of all alike
	err    error

	cut chan struct{} // the request was given up
}

// Interrupt implements the Interrupter of an Exchange.
func (m *member) Interrupt() {
	select {
	case m.cut <- struct{}{}:
	default:
	}
}

// Do adds an event to a batch and writes its answer to x. An event without an answer in the batch's gets an empty one.
func (b *Batcher) Do(x workers.Exchange) error {
	body, err := wholeBody(x)
	if err != nil {
		return err
	}
	e, err := newWireEvent(x.Request(), x.Scheme(), append([]byte(nil), body...), time.Now())
	if err != nil {
		return respond(x, "Failed to wrap structured cloud event")
	}
	m := &member{done: make(chan struct{}), cut: make(chan struct{}, 1)}
	b.join(e, m)
	cause := x.OnInterrupt(m)
	if cause == nil {
		select {
		case <-m.done:
		case <-m.cut:
		}
		cause = x.OnInterrupt(nil)
	}
	if cause != nil {
		return cause
	}
	<-m.done
	if m.err != nil {
		return m.err
	}
	return m.send(x)
}

// join adds an event, and starts the batch that is full with it.
func (b *Batcher) join(e *wireEvent, m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		now := &batch{}
		now.timer = time.AfterFunc(b.source.batchTime, func() { b.due(now) })
		b.current = now
	}
	now := b.current
	now.events, now.members = append(now.events, e), append(now.members, m)
	if len(now.members) >= b.source.batch {
		b.current = nil
		now.timer.Stop()
		go b.serve(now) // ends with the batch, for which its members wait
	}
}

// due starts a batch whose first event has waited enough.
func (b *Batcher) due(now *batch) {
	b.mu.Lock()
	if b.current != now {
		b.mu.Unlock()
		return
	}
	b.current = nil
	b.mu.Unlock()
	b.serve(now)
}

// serve runs a batch and wakes its members.
func (b *Batcher) serve(now *batch) {
	err := b.attempt(now)
	for _, m := range now.members {
		if err != nil {
			m.err = err
		}
		close(m.done)
	}
}

func (b *Batcher) attempt(now *batch) error {
	var w queue.Waiter
	w.Reset()
	if err := b.queue.Acquire(&w); err != nil {
		return err
	}
	defer b.queue.Release(0)
	body, err := json.Marshal(now.events)
	if err != nil {
		return err
	}
	c := &batchCall{source: b.source, body: body}
	c.request.Method, c.request.Target, c.request.Minor, c.request.Length = []byte("POST"), []byte("/"), 1, int64(len(body))
	if err := b.run(c); err != nil {
		return err
	}
	return now.share(c)
}

// share gives each member its answer. Where there is but one answer, because the handler failed, all get that.
func (now *batch) share(c *batchCall) error {
	if c.contentType != batchType {
		for _, m := range now.members {
			m.answer = &reply{Status: c.status, ContentType: c.contentType, body: c.answer}
		}
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(c.answer, &all); err != nil {
		return fmt.Errorf("%w: %w", workers.ErrBadAnswer, err)
	}
	byEvent := make(map[string]*reply, len(all))
	for _, text := range all {
		var of struct {
			Event any `json:"event_id"`
		}
		r, err := parseReply(text)
		if err == nil {
			err = json.Unmarshal(text, &of)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", workers.ErrBadAnswer, err)
		}
		byEvent[fmt.Sprint(of.Event)] = r
	}
	for i, m := range now.members {
		m.answer = byEvent[now.events[i].ID]
	}
	return nil
}

// send writes the answer of a member.
func (m *member) send(x workers.Exchange) error {
	if m.answer == nil {
		x.Respond(200, 0)
		return x.Finish()
	}
	return m.answer.send(x, int64(len(m.answer.body)), nil)
}

// batchCall is a batch on its way through a worker: an Exchange without a client.
type batchCall struct {
	source  *Source
	request http1.Request
	body    []byte

	status      int
	contentType string
	answer      []byte
}

// The methods of workers.Exchange.

// Request implements workers.Exchange.
func (c *batchCall) Request() *http1.Request { return &c.request }

// AppendID implements workers.Exchange.
func (c *batchCall) AppendID(b []byte) []byte {
	return append(append(b, "batch-"...), c.source.Name...)
}

// Peer implements workers.Exchange.
func (c *batchCall) Peer() string { return "" }

// Scheme implements workers.Exchange.
func (c *batchCall) Scheme() string { return "batch/" + c.source.Name }

// Remaining implements workers.Exchange.
func (c *batchCall) Remaining() time.Duration { return 0 }

// Body implements workers.Exchange.
func (c *batchCall) Body() ([]byte, bool) { return c.body, true }

// ReadBody implements workers.Exchange.
func (c *batchCall) ReadBody([]byte) (int, error) { return 0, io.EOF }

// Continue implements workers.Exchange.
func (c *batchCall) Continue() error { return nil }

// StopBody implements workers.Exchange.
func (c *batchCall) StopBody(wait func()) { wait() }

// OnInterrupt implements workers.Exchange. Nobody interrupts.
func (c *batchCall) OnInterrupt(interface{ Interrupt() }) error { return nil }

// Respond implements workers.Exchange.
func (c *batchCall) Respond(status int, _ int64) { c.status, c.answer = status, nil }

// AddTrailer implements workers.Exchange.
func (c *batchCall) AddTrailer(_, _ []byte) error { return nil }

// Finish implements workers.Exchange.
func (c *batchCall) Finish() error { return nil }

// AddField implements workers.Exchange.
func (c *batchCall) AddField(name, value []byte) error {
	if bytes.EqualFold(name, []byte("Content-Type")) {
		c.contentType = string(value)
	}
	return nil
}

// Write implements workers.Exchange.
func (c *batchCall) Write(p []byte) (int, error) {
	c.answer = append(c.answer, p...)
	return len(p), nil
}
