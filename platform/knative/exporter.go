package knative

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	exportRoom    = 2048            // requests whose spans wait; more are dropped
	exportBatch   = 128             // requests in a message
	exportEvery   = 5 * time.Second // longest wait of spans
	exportTimeout = 5 * time.Second // for a message, and for all that is left at the end
)

// Exporter brings spans to a collector of OpenTelemetry, or writes them as lines. What the collector does not take is
// dropped: it is not worth memory of a pod.
type Exporter struct {
	log      *slog.Logger
	stdout   io.Writer // not nil: lines go there
	address  string
	grpc     bool
	client   *http.Client
	resource []attr

	waiting chan traced
	dropped atomic.Int64
}

// NewExporter returns an exporter, and nil if settings want no traces. Lines go to stdout if they do. Without an
// address in the settings, otherwise is that of the collector; it may be empty, too. Run must be called.
func NewExporter(s *Settings, otherwise string, stdout io.Writer, log *slog.Logger) (*Exporter, error) {
	e := &Exporter{log: log, waiting: make(chan traced, exportRoom)}
	for k, v := range about(s) {
		e.resource = append(e.resource, attr{key: resourceNames[k], text: v})
	}
	address := s.Observability.Tracing.Endpoint
	if address == "" {
		address = otherwise
	}
	var protocols http.Protocols
	path := "/v1/traces"
	switch s.Observability.Tracing.Protocol {
	case ProtocolStdout:
		e.stdout = stdout
		return e, nil
	case ProtocolHTTP:
		if address == "" {
			address = "http://localhost:4318"
		}
		protocols.SetHTTP1(true)
	case ProtocolGRPC:
		if address == "" {
			address = "http://localhost:4317"
		}
		e.grpc, path = true, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
	default:
		return nil, nil //nolint:nilnil // there is no exporter, and that is right
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("tracing.endpoint %q: must be a URL with http or https", address)
	}
	if e.grpc || strings.Trim(u.Path, "/") == "" {
		u.Path = path
	}
	e.address = u.String()
	e.client = &http.Client{Transport: &http.Transport{Protocols: &protocols, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	return e, nil
}

// resourceNames are the labels of target_info as OpenTelemetry writes them.
var resourceNames = map[string]string{
	"container_name": "container.name", "k8s_namespace_name": "k8s.namespace.name", "k8s_pod_name": "k8s.pod.name",
	"kn_service_name": "kn.service.name", "kn_configuration_name": "kn.configuration.name", "kn_revision_name": "kn.revision.name",
	"service_name": "service.name", "service_instance_id": "service.instance.id",
}

// add takes the spans of a request, or drops them.
func (e *Exporter) add(r traced) {
	select {
	case e.waiting <- r:
	default:
		e.dropped.Add(1)
	}
}

// Run exports until ctx ends, and then what is left.
func (e *Exporter) Run(ctx context.Context) {
	t := time.NewTicker(exportEvery)
	defer t.Stop()
	if e.client != nil {
		defer e.client.CloseIdleConnections()
	}
	var batch []span
	requests := 0
	flush := func(ctx context.Context) {
		if requests == 0 {
			return
		}
		if err := e.send(ctx, batch); err != nil {
			e.log.Warn("traces were not taken", "requests", requests, "err", err)
		}
		batch, requests = batch[:0], 0
	}
	take := func(r traced) {
		batch = append(batch, r.spans()...)
		requests++
	}
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case r := <-e.waiting:
			take(r)
			if requests == exportBatch || e.stdout != nil {
				flush(whole)
			}
		case <-t.C:
			flush(whole)
			if n := e.dropped.Swap(0); n > 0 {
				e.log.Warn("traces were dropped: the collector is too slow", "requests", n)
			}
		}
	}
	end, cancel := context.WithTimeout(whole, exportTimeout)
	defer cancel()
	for {
		select {
		case r := <-e.waiting:
			take(r)
			if requests == exportBatch {
				flush(end)
			}
		default:
			flush(end)
			return
		}
	}
}

// send hands over spans.
func (e *Exporter) send(ctx context.Context, list []span) error {
	if e.stdout != nil {
		for i := range list {
			if _, err := e.stdout.Write(list[i].appendLine(nil)); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	message, kind := appendSpans(nil, e.resource, list), "application/x-protobuf"
	if e.grpc {
		frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
		message, kind = append(frame, message...), "application/grpc"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.address, bytes.NewReader(message))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	if e.grpc {
		r.Header.Set("Te", "trailers")
	}
	resp, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()                                         // it was read
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil { // then come the trailers
		return err
	}
	return e.judge(resp)
}

// judge says whether the collector has taken what it got.
func (e *Exporter) judge(resp *http.Response) error {
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	if !e.grpc {
		return nil
	}
	status, text := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" {
		status, text = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return fmt.Errorf("grpc status %q: %s", status, text)
	}
	return nil
}

// appendJSON appends a text in quotes.
func appendJSON(b []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // of a string there is no error
	return append(b, quoted...)
}
