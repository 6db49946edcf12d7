package nuclio

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/workers"
)

// wireEvent is an event as Nuclio's own wrappers are told of it.
type wireEvent struct {
	ID          string            `json:"id"`
	Body        any               `json:"body"` // []byte, or an object of a cloud event
	ContentType string            `json:"content_type"`
	SameType    string            `json:"content-type"`
	Headers     map[string]any    `json:"headers"`
	Fields      map[string]string `json:"fields"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	URL         string            `json:"url"`
	Size        int               `json:"size"`
	Timestamp   int64             `json:"timestamp"` // seconds since 1970
	Trigger     wireTrigger       `json:"trigger"`
	ShardID     int               `json:"shard_id"`
	NumShards   int               `json:"num_shards"`
	Offset      int               `json:"offset"`
	Type        string            `json:"type"`
	TypeVersion string            `json:"type_version"`
	Version     string            `json:"version"`
	Topic       string            `json:"topic"`
}

type wireTrigger struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// newWireEvent makes the event of a request that came by a trigger, which is kind and name with a slash between them.
func newWireEvent(r *http1.Request, trigger string, body []byte, now time.Time) (*wireEvent, error) {
	path, query, _ := bytes.Cut(r.Target, []byte{'?'})
	if body == nil {
		body = []byte{} // an empty one is no null
	}
	e := &wireEvent{
		ID: newID(), Body: body, Headers: map[string]any{}, Fields: queryFields(query), Method: string(r.Method), Size: len(body),
		Timestamp: now.Unix(), ShardID: -1,
	}
	e.Trigger.Kind, e.Trigger.Name, _ = strings.Cut(trigger, "/")
	if e.Trigger.Kind == KindCron {
		e.Timestamp = 0
	}
	if len(path) > 0 {
		e.Path = cleanPath(path)
	}
	if len(r.Host) > 0 {
		e.Headers["Host"] = string(r.Host)
	}
	if r.HasLength {
		e.Headers["Content-Length"] = strconv.FormatInt(r.Length, 10)
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Hop || f.Kind == http1.Host {
			continue
		}
		name := string(appendCanonical(nil, f.Name))
		value := string(f.Value)
		if before, again := e.Headers[name].(string); again && name == "Cookie" {
			value = before + "; " + value
		}
		e.Headers[name] = value
	}
	if v, ok := e.Headers["Content-Type"].(string); ok {
		e.ContentType, e.SameType = v, v
	}
	return e, e.cloud(body)
}

// cloudEvent is a structured event of the draft 0.1 of CloudEvents.
type cloudEvent struct {
	Version     string         `json:"cloudEventsVersion"`
	Type        string         `json:"eventType"`
	TypeVersion string         `json:"eventTypeVersion"`
	Source      string         `json:"source"`
	ID          string         `json:"eventID"`
	Time        *time.Time     `json:"eventTime"`
	ContentType string         `json:"contentType"`
	Data        any            `json:"data"`
	Extensions  map[string]any `json:"extensions"`
}

// cloud makes a cloud event of the event, if it is one.
func (e *wireEvent) cloud(body []byte) error {
	if strings.HasPrefix(e.ContentType, "application/cloudevents") {
		var c cloudEvent
		if err := json.Unmarshal(body, &c); err != nil {
			return fmt.Errorf("read cloud event: %w", err)
		}
		e.ID, e.Trigger = c.ID, wireTrigger{c.Source, c.Source}
		e.ContentType, e.SameType, e.Headers = c.ContentType, c.ContentType, c.Extensions
		e.Type, e.TypeVersion, e.Version, e.Timestamp = c.Type, c.TypeVersion, c.Version, 0
		if c.Time != nil {
			e.Timestamp = c.Time.Unix()
		}
		if text, ok := c.Data.(string); ok {
			e.Body, e.Size = []byte(text), len(text)
		} else {
			e.Body, e.Size = c.Data, 0
		}
		return nil
	}
	version, ok := e.Headers["Ce-Cloudeventsversion"].(string)
	if !ok {
		return nil
	}
	header := func(name string) string {
		v, _ := e.Headers[name].(string)
		return v
	}
	e.Version, e.ID, e.Type, e.TypeVersion = version, header("Ce-Eventid"), header("Ce-Eventtype"), header("Ce-Eventtypeversion")
	e.Trigger = wireTrigger{header("Ce-Source"), header("Ce-Name")}
	e.Timestamp = 0
	if at, err := time.Parse(time.RFC3339, header("Ce-Eventtime")); err == nil {
		e.Timestamp = at.Unix()
	}
	return nil
}

// frame is the event as a wrapper reads it: a line of JSON, or MessagePack behind its length.
func (e *wireEvent) frame(lines bool) ([]byte, error) {
	if lines {
		b, err := json.Marshal(e)
		return append(b, '\n'), err
	}
	b := make([]byte, 4, 1024+e.Size)
	b = e.pack(b)
	if len(b)-4 > math.MaxInt32 {
		return nil, fmt.Errorf("event of %d bytes is too large", len(b))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

// pack appends the event as MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md).
func (e *wireEvent) pack(b []byte) []byte {
	pairs := []struct {
		name  string
		value any
	}{
		{"id", e.ID},
		{"body", e.Body},
		{"content_type", e.ContentType},
		{"content-type", e.SameType},
		{"headers", e.Headers},
		{"fields", e.Fields},
		{"method", e.Method},
		{"path", e.Path},
		{"url", e.URL},
		{"size", e.Size},
		{"timestamp", int(e.Timestamp)},
		{"trigger", map[string]string{"kind": e.Trigger.Kind, "name": e.Trigger.Name}},
		{"shard_id", e.ShardID},
		{"num_shards", e.NumShards},
		{"offset", e.Offset},
		{"type", e.Type},
		{"type_version", e.TypeVersion},
		{"version", e.Version},
		{"topic", e.Topic},
	}
	b = packHead(b, len(pairs), 0x80, 16, 0, 0xde)
	for _, p := range pairs {
		b = packText(b, p.name)
		b = packValue(b, p.value)
	}
	return b
}

func packValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(int64(v)))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case string:
		return packText(b, v)
	case []byte:
		return append(packHead(b, len(v), 0, 0, 0xc4, 0xc5), v...)
	case []any:
		b = packHead(b, len(v), 0x90, 16, 0, 0xdc)
		for _, item := range v {
			b = packValue(b, item)
		}
		return b
	case map[string]string:
		b = packHead(b, len(v), 0x80, 16, 0, 0xde)
		for name, item := range v {
			b = packText(packText(b, name), item)
		}
		return b
	case map[string]any:
		b = packHead(b, len(v), 0x80, 16, 0, 0xde)
		for name, item := range v {
			b = packValue(packText(b, name), item)
		}
		return b
	default:
		return packText(b, fmt.Sprint(v))
	}
}

func packText(b []byte, text string) []byte {
	return append(packHead(b, len(text), 0xa0, 32, 0xd9, 0xda), text...)
}

// packHead appends the type and the length n of a value: in one byte below fixed, in a byte of its own with the type
// short if there is such a type, else in two behind the type long, or in four behind the one that follows.
func packHead(b []byte, n int, fix byte, fixed int, short, long byte) []byte {
	switch {
	case n < fixed:
		return append(b, fix|byte(n))
	case short != 0 && n <= math.MaxUint8:
		return append(b, short, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, long), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, long+1), uint32(n))
	}
}

// reply is what a wrapper answers.
type reply struct {
	Status      int            `json:"status_code"`
	ContentType string         `json:"content_type"`
	Headers     map[string]any `json:"headers"`
	Text        string         `json:"body"`
	Encoding    string         `json:"body_encoding"`

	body []byte
}

// parseReply reads the payload of a line of the type r or c. Of a list the first counts; an empty one, or null, is nil.
func parseReply(text []byte) (*reply, error) {
	var r *reply
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t"), []byte("[")) {
		var all []*reply
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, err
		}
		if len(all) > 0 {
			r = all[0]
		}
	} else if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, nil
	}
	switch r.Encoding {
	case "text":
		r.body = []byte(r.Text)
	case "base64":
		var err error
		if r.body, err = base64.StdEncoding.DecodeString(r.Text); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("Unknown body encoding - %q", r.Encoding) //nolint:staticcheck // the client reads this text as it always was
	}
	r.Text = ""
	if r.Status == 0 {
		r.Status = 200
	}
	if r.Status < 200 || r.Status > 599 {
		return nil, fmt.Errorf("status %d cannot be sent: there are 200 to 599", r.Status)
	}
	return r, nil
}

// fields returns what is sent of the headers: texts, without line breaks, and the type of the body.
func (r *reply) fields() (all [][2]string) {
	for name, value := range r.Headers {
		text, ok := value.(string)
		if !ok || !http1.ValidName(name) || r.ContentType != "" && strings.EqualFold(name, "Content-Type") {
			continue
		}
		all = append(all, [2]string{name, cleanValue(text)})
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if r.ContentType != "" {
		all = append(all, [2]string{"Content-Type", cleanValue(r.ContentType)})
	}
	return all
}

// send writes the answer, with more fields than its own. One of the length -1 is not over with it.
func (r *reply) send(x workers.Exchange, length int64, more [][2]string) error {
	x.Respond(r.Status, length)
	for _, f := range append(r.fields(), more...) {
		if err := x.AddField([]byte(f[0]), []byte(f[1])); err != nil {
			return err
		}
	}
	if len(r.body) > 0 || length < 0 {
		if _, err := x.Write(r.body); err != nil {
			return err
		}
	}
	if length < 0 {
		return nil
	}
	return x.Finish()
}

// cleanValue makes spaces of what may not be in a field.
func cleanValue(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' || c == 0x7f {
			return ' '
		}
		return c
	}, text))
}

// wireLog is a line of the log, as wrappers tell it.
type wireLog struct {
	Level   string         `json:"level"`
	Message string         `json:"message"`
	With    map[string]any `json:"with"`
}

// parseLog reads the payload of a line of the type l, or the attributes of a message of the kind log.
func parseLog(text []byte) (wireLog, error) {
	var l wireLog
	err := json.Unmarshal(text, &l)
	if !utf8.ValidString(l.Message) {
		l.Message = strings.ToValidUTF8(l.Message, "\ufffd")
	}
	return l, err
}
