package knative

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Where a collector of OpenTelemetry takes what.
const (
	tracesHTTP  = "/v1/traces"
	tracesGRPC  = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	metricsHTTP = "/v1/metrics"
	metricsGRPC = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
)

// exportTimeout bounds the time for a message, and for all that is left at the end.
const exportTimeout = 5 * time.Second

// collector is where messages of OTLP go: the same over HTTP and gRPC.
type collector struct {
	address string
	grpc    bool
	kind    string // of messages
	client  *http.Client
}

// newCollector returns a collector; without an address that of this machine. Call close at the end.
func newCollector(protocol, address, pathHTTP, pathGRPC string) (*collector, error) {
	c := &collector{grpc: protocol == ProtocolGRPC, kind: "application/x-protobuf"}
	var protocols http.Protocols
	if c.grpc {
		c.kind = "application/grpc"
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	switch {
	case address != "":
	case c.grpc:
		address = "http://localhost:4317"
	default:
		address = "http://localhost:4318"
	}
	u, err := url.Parse(address)
	if err == nil && u.Opaque != "" { // HOST:PORT
		u, err = url.Parse("https://" + address)
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q: must be a URL with http or https", address)
	}
	switch {
	case c.grpc:
		u.Path = pathGRPC
	case strings.Trim(u.Path, "/") == "":
		u.Path = pathHTTP
	}
	c.address = u.String()
	c.client = &http.Client{Transport: &http.Transport{Protocols: &protocols, MaxIdleConns: 1, IdleConnTimeout: 2 * time.Minute}}
	return c, nil
}

func (c *collector) close() { c.client.CloseIdleConnections() }

// send hands over a message.
func (c *collector) send(ctx context.Context, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	if c.grpc {
		frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
		message = append(frame, message...)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(message))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", c.kind)
	if c.grpc {
		r.Header.Set("Te", "trailers")
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()                                         // it was read
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil { // then come the trailers
		return err
	}
	return c.judge(resp)
}

// judge says whether the collector has taken what it got.
func (c *collector) judge(resp *http.Response) error {
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	if !c.grpc {
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

// attr is an attribute of OpenTelemetry.
type attr struct {
	key, text string
	number    int64 // if text is ""
}

// otelNames are our labels as OpenTelemetry writes them.
var otelNames = map[string]string{
	"container_name": "container.name", "k8s_namespace_name": "k8s.namespace.name", "k8s_pod_name": "k8s.pod.name",
	"kn_service_name": "kn.service.name", "kn_configuration_name": "kn.configuration.name", "kn_revision_name": "kn.revision.name",
	"service_name": "service.name", "service_instance_id": "service.instance.id",

	"http_request_method": "http.request.method", "http_response_status_code": "http.response.status_code", "kn_route_tag": "kn.route.tag",
	"network_protocol_name": "network.protocol.name", "network_protocol_version": "network.protocol.version", "url_scheme": "url.scheme",
	"error_type": "error.type", "server_address": "server.address", "server_port": "server.port",
}

// value is what it says, as text.
func (a *attr) value() string {
	if a.text != "" || a.number == 0 {
		return a.text
	}
	return strconv.FormatInt(a.number, 10)
}

// resource is what messages are about.
func resource(s *Settings) (list []attr) {
	for k, v := range about(s) {
		list = append(list, attr{key: otelNames[k], text: v})
	}
	return list
}

// appendResource appends what messages have in common: in field 1 what they are about, and a scope with its content.
func appendResource(b []byte, about []attr, scopes ...func([]byte) []byte) []byte {
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendMessage(b, 1, func(b []byte) []byte { return appendAttrs(b, 1, about) })
		for _, fill := range scopes {
			b = appendMessage(b, 2, fill)
		}
		return b
	})
}

func appendScope(b []byte, name string) []byte {
	return appendMessage(b, 1, func(b []byte) []byte { return appendText(b, 1, name) })
}

// Types on the wire of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// appendAttrs appends each as a KeyValue.
func appendAttrs(b []byte, field int, attrs []attr) []byte {
	for _, a := range attrs {
		b = appendMessage(b, field, func(b []byte) []byte {
			b = appendText(b, 1, a.key)
			return appendMessage(b, 2, func(b []byte) []byte {
				if a.text != "" || a.number == 0 {
					return appendText(b, 1, a.text)
				}
				return appendVarint(b, 3, uint64(a.number))
			})
		})
	}
	return b
}

func appendTag(b []byte, field, wire int) []byte {
	return binary.AppendUvarint(b, uint64(field<<3|wire))
}

func appendVarint(b []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(appendTag(b, field, wireVarint), v)
}

func appendTime(b []byte, field int, t time.Time) []byte {
	return appendFixed64(b, field, uint64(t.UnixNano()))
}

func appendText(b []byte, field int, text string) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(text)))
	return append(b, text...)
}

// appendMessage appends what fill appends, with its length before it.
func appendMessage(b []byte, field int, fill func([]byte) []byte) []byte {
	content := fill(nil)
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(content)))
	return append(b, content...)
}

func appendFixed64(b []byte, field int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(b, field, wireFixed64), v)
}

func appendDouble(b []byte, field int, v float64) []byte {
	return appendFixed64(b, field, math.Float64bits(v))
}
