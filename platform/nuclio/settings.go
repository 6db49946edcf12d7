package nuclio

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fnpod/fnpod/broker"
)

// Defaults of the original.
const (
	defaultAddress     = ":8080"
	defaultWait        = 10 * time.Second
	defaultTermination = 10 * time.Second
	defaultHead        = 16384
	defaultBody        = 4 << 20
)

// Settings are what both files and the environment say, checked.
type Settings struct {
	Config
	Platform

	Runtime      string        // python, nodejs and so on, without a version
	EventTimeout time.Duration // longest run of an event; 0 means no limit
	Termination  time.Duration // longest workerTerminationTimeout of all triggers
	Triggers     []Source      // by name
	Kube         bool          // the pod is one of Kubernetes
	Compatible   bool          // answers are those of the original where these are wrong, too
	Instance     string        // label of all series

	WebAdmin    string // address; empty: off
	HealthCheck string // likewise
	Series      string // likewise
	Pushes      []*Push
	Sinks       []LogSink
	Warnings    []string

	instanceSet bool // by a sink
}

// Source is a trigger: where events come from and who runs them.
type Source struct {
	Name, Kind string
	Allocator  string        // triggers with the same one share their workers
	Workers    int           // as many as its allocator has
	PerWorker  int           // events that one worker runs at once, likewise
	Wait       time.Duration // longest wait for a worker; 0: none
	Shared     bool          // the allocator has a name

	Address   string // of http: where it listens; of a broker: its URL, without a password
	HeadBytes int    // of http
	MaxBody   int64  // of http
	CORS      *CORS  // of http; nil: off

	Schedule Schedule // of cron
	Event    Event    // of cron and kickstart

	NATS *broker.NATSConfig // of nats
	MQTT *broker.MQTTConfig // of mqtt

	batch     int // most events that a worker gets at once; 0: one by one
	batchTime time.Duration

	as     Trigger // as it is written
	scheme string  // see Scheme
}

// Kinds of triggers that are here, and those that the original has besides.
const (
	KindHTTP      = "http"
	KindCron      = "cron"
	KindKickstart = "kickstart"
	KindNATS      = "nats"
	KindMQTT      = "mqtt"
)

var (
	here      = []string{KindHTTP, KindCron, KindKickstart, KindNATS, KindMQTT}
	elsewhere = []string{"kafka-cluster", "kafka", "rabbit-mq", "rabbitMq", "iotCoreMqtt", "kinesis", "eventhub", "pubsub", "v3ioStream", "v3ioItemPoller"}
)

// Runtimes are the names that the original knows, sorted.
func Runtimes() []string {
	return []string{"dotnetcore", "golang", "java", "nodejs", "python", "ruby", "shell"}
}

// Read joins the settings. lookup finds a variable of the environment. The error joins one line for each value that
// cannot be used.
func Read(c Config, p Platform, lookup func(name string) (string, bool)) (*Settings, error) {
	s := &Settings{Config: c, Platform: p}
	raw := func(name string) string {
		v, _ := lookup(name)
		return v
	}
	s.Kube = raw("KUBERNETES_SERVICE_HOST") != "" && raw("KUBERNETES_SERVICE_PORT") != ""
	s.Compatible = raw("FNPOD_NUCLIO_COMPATIBLE") == "true"
	s.Instance = raw("NUCLIO_FUNCTION_INSTANCE")
	var errs []error
	s.Runtime, _, _ = strings.Cut(c.Spec.Runtime, ":")
	if !slices.Contains(Runtimes(), s.Runtime) {
		errs = append(errs, fmt.Errorf("spec.runtime %q: is not registered: there are %s", c.Spec.Runtime, strings.Join(Runtimes(), ", ")))
	}
	if text := c.Spec.EventTimeout; text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			errs = append(errs, fmt.Errorf("spec.eventTimeout %q: must be a duration of more than 0, such as 30s", text))
		}
		s.EventTimeout = d
	}
	s.WebAdmin, s.HealthCheck = p.WebAdmin.address(":8081"), p.HealthCheck.address(":8082")
	errs = append(errs, s.series(), s.logs(), s.triggers())
	return s, errors.Join(errs...)
}

// address is where the port listens; empty if it is off.
func (e Endpoint) address(other string) string {
	switch {
	case e.Enabled != nil && !*e.Enabled:
		return ""
	case e.Address == "":
		return other
	default:
		return e.Address
	}
}

// series finds out where figures go, and what they call this pod.
func (s *Settings) series() error {
	var errs []error
	for _, name := range s.Metrics.Functions {
		sink, ok := s.Metrics.Sinks[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("metrics.functions %q: there is no such sink", name))
		case sink.Enabled != nil && !*sink.Enabled:
		default:
			if err := s.sink(&sink); err != nil {
				errs = append(errs, fmt.Errorf("metrics.sinks.%s: %w", name, err))
			}
		}
	}
	if s.Series == "" && len(s.Pushes) == 0 {
		s.Warnings = append(s.Warnings, "no metric sink is configured")
	}
	if s.Instance == "" {
		s.Instance = s.Metadata.Namespace + "-" + s.Metadata.Name
	}
	return errors.Join(errs...)
}

// sink reads one sink of figures.
func (s *Settings) sink(sink *Sink) error {
	instance, err := sink.Attributes.Text("instanceName")
	if err != nil {
		return err
	}
	switch sink.Kind {
	case "prometheusPull":
		if s.Series = sink.URL; s.Series == "" {
			s.Series = ":8090"
		}
	case "prometheusPush":
		push, err := readPush(sink)
		if err != nil {
			return err
		}
		if instance == "" {
			return errors.New("attribute instanceName: is needed")
		}
		s.Pushes = append(s.Pushes, push)
	default:
		return fmt.Errorf("kind %q: is not there; use prometheusPull or prometheusPush", sink.Kind)
	}
	if instance == "" {
		return nil
	}
	if instance, err = s.named(instance, ""); err != nil {
		return fmt.Errorf("attribute instanceName: %w", err)
	}
	if s.instanceSet && s.Instance != instance {
		return fmt.Errorf("attribute instanceName %q: is %q in another sink", instance, s.Instance)
	}
	s.Instance, s.instanceSet = instance, true
	return nil
}

func (s *Settings) triggers() error {
	var errs []error
	workers, perWorker := map[string]int{}, map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(s.Spec.Triggers)) {
		t := s.Spec.Triggers[name]
		if t.Kind == KindCron && s.Kube && s.CronTriggerCreationMode == "kube" {
			continue // Kubernetes has the clock
		}
		source, err := s.source(name, t)
		if err != nil {
			errs = append(errs, fmt.Errorf("trigger %s: %w", name, err))
			continue
		}
		workers[source.Allocator] = max(workers[source.Allocator], source.Workers)
		perWorker[source.Allocator] = max(perWorker[source.Allocator], source.PerWorker)
		s.Triggers = append(s.Triggers, source)
	}
	for i := range s.Triggers {
		s.Triggers[i].Workers = workers[s.Triggers[i].Allocator]
		s.Triggers[i].PerWorker = perWorker[s.Triggers[i].Allocator]
	}
	return errors.Join(errs...)
}

// source reads one trigger.
func (s *Settings) source(name string, t Trigger) (Source, error) {
	src := Source{Name: name, Kind: t.Kind, Allocator: "\x00" + name, Workers: t.Workers, Wait: defaultWait, as: t}
	if t.Allocator != "" {
		src.Allocator, src.Shared = t.Allocator, true
	}
	if t.Workers == 0 {
		src.Workers = 1
	}
	if t.Workers < 0 || t.Workers > 4096 {
		return src, fmt.Errorf("numWorkers %d: allowed are 1 to 4096", t.Workers)
	}
	if err := s.several(&src, t); err != nil {
		return src, err
	}
	if ms := t.Availability; ms != nil && *ms >= 0 {
		src.Wait = time.Duration(*ms) * time.Millisecond
	}
	termination := defaultTermination
	if t.TerminationTimeout != "" {
		var err error
		if termination, err = time.ParseDuration(t.TerminationTimeout); err != nil {
			return src, fmt.Errorf("workerTerminationTimeout %q: must be a duration such as 10s", t.TerminationTimeout)
		}
	}
	s.Termination = max(s.Termination, termination)
	src.scheme = t.Kind + "/" + strings.ReplaceAll(name, " ", "_")
	if err := src.batching(t.Batch); err != nil {
		return src, err
	}
	if src.Batches() && s.Runtime != "python" {
		return src, errors.New("batch: only functions in Python have it")
	}
	switch {
	case t.Kind == KindHTTP:
		return src, src.http(t)
	case t.Kind == KindCron:
		return src, src.cron(t)
	case t.Kind == KindKickstart:
		return src, src.Event.read(t.Attributes)
	case t.Kind == KindNATS:
		return src, s.nats(&src, t)
	case t.Kind == KindMQTT:
		return src, s.mqtt(&src, t)
	case slices.Contains(elsewhere, t.Kind):
		return src, fmt.Errorf("kind %q: is not there: there are %s; other brokers speak to an http trigger through a connector such as KEDA's or Knative's", t.Kind, strings.Join(here, ", "))
	default:
		return src, fmt.Errorf("kind %q: is not registered: there are %s", t.Kind, strings.Join(here, ", "))
	}
}

// defaultPerWorker is how many events run at once on a worker of a trigger in mode async.
const defaultPerWorker = 1000

// several reads the mode of a trigger (Nuclio 1.15): async gives a worker several events at once, of http and in Python.
func (s *Settings) several(src *Source, t Trigger) error {
	src.PerWorker = 1
	if t.Mode != "async" {
		return nil
	}
	if t.Kind != KindHTTP || s.Runtime != "python" {
		s.Warnings = append(s.Warnings, fmt.Sprintf("trigger %s: mode async is for http triggers of functions in Python", src.Name))
		return nil
	}
	src.PerWorker = defaultPerWorker
	if n := t.Async.MaxConnections; n != 0 {
		src.PerWorker = n
	}
	if src.PerWorker < 1 || src.PerWorker > 1<<16-1 {
		return fmt.Errorf("async.maxConnectionsNumber %d: allowed are 1 to 65535", src.PerWorker)
	}
	return nil
}

// http reads the attributes of an http trigger.
func (src *Source) http(t Trigger) error {
	if src.Address = t.URL; src.Address == "" {
		src.Address = defaultAddress
	}
	head, err := t.Attributes.number("readBufferSize", 0)
	if err != nil {
		return err
	}
	if head <= 0 {
		head = defaultHead
	}
	src.HeadBytes = min(max(head, 1<<10), 64<<10-1)
	body, err := t.Attributes.number("maxRequestBodySize", 0)
	if err != nil {
		return err
	}
	if body <= 0 {
		body = defaultBody
	}
	src.MaxBody = int64(body)
	if _, err := t.Attributes.flag("reduceMemoryUsage"); err != nil { // it has no effect here
		return err
	}
	part, err := t.Attributes.part("cors")
	if err != nil {
		return err
	}
	src.CORS, err = readCORS(part)
	return err
}

// cron reads the attributes of a cron trigger.
func (src *Source) cron(t Trigger) error {
	if err := src.Event.read(t.Attributes); err != nil {
		return err
	}
	schedule, err := t.Attributes.Text("schedule")
	if err != nil {
		return err
	}
	interval, err := t.Attributes.Text("interval")
	if err != nil {
		return err
	}
	switch {
	case interval != "":
		d, err := time.ParseDuration(interval)
		if err != nil || d <= 0 {
			return fmt.Errorf("interval %q: must be a duration of more than 0, such as 10s", interval)
		}
		src.Schedule = Every(d)
	case schedule != "":
		if src.Schedule, err = ParseSchedule(schedule); err != nil {
			return fmt.Errorf("schedule %q: %w", schedule, err)
		}
	default:
		return errors.New("cron: needs a schedule or an interval")
	}
	return nil
}

// LongestWait returns the longest wait for a worker among the triggers that share those of src.
func (s *Settings) LongestWait(src *Source) time.Duration {
	var d time.Duration
	for i := range s.Triggers {
		if s.Triggers[i].Allocator == src.Allocator {
			d = max(d, s.Triggers[i].Wait)
		}
	}
	return d
}

// HTTP returns the http triggers.
func (s *Settings) HTTP() (all []*Source) {
	for i := range s.Triggers {
		if s.Triggers[i].Kind == KindHTTP {
			all = append(all, &s.Triggers[i])
		}
	}
	return all
}

// pythonHandler is what a handler of Python must look like.
var pythonHandler = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([\w|-]+(?:\.[\w|-]+)*):(\w+)$`)
})

// PythonHandler splits module.sub:function.
func PythonHandler(text string) (module, function string, err error) {
	m := pythonHandler().FindStringSubmatch(text)
	if m == nil {
		return "", "", fmt.Errorf("spec.handler %q: must be module.sub:function", text)
	}
	return m[1], m[2], nil
}

// SplitHandler splits file:function, of which either may be missing with its colon.
func SplitHandler(text string) (file, function string, err error) {
	file, function, _ = strings.Cut(text, ":")
	if file == "" || strings.Contains(function, ":") {
		return "", "", fmt.Errorf("spec.handler %q: must be file:function", text)
	}
	return file, function, nil
}

// DecodesStrings reports whether the strings of an event are text for Python, and not bytes.
func DecodesStrings(lookup func(name string) (string, bool)) bool {
	v, _ := lookup("NUCLIO_PYTHON_DECODE_EVENT_STRINGS")
	return !slices.Contains([]string{"no", "false", "disable", "disabled"}, strings.ToLower(v))
}
