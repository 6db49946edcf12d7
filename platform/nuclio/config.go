package nuclio

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Config is processor.yaml, as far as a pod reads it. Keys that are not here are ignored.
type Config struct {
	Metadata struct {
		Name        string            `yaml:"name"`
		Namespace   string            `yaml:"namespace"`
		Labels      map[string]string `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec Spec `yaml:"spec"`

	// Masked are the triggers without the values of a secret, for everybody to see; nil: there is none.
	Masked map[string]Trigger `yaml:"-"`
}

// Spec is the function.
type Spec struct {
	Handler           string             `yaml:"handler"`
	Runtime           string             `yaml:"runtime"`
	Version           number             `yaml:"version"`
	Description       string             `yaml:"description"`
	Env               []Variable         `yaml:"env"`
	EventTimeout      string             `yaml:"eventTimeout"`
	RuntimeAttributes Attributes         `yaml:"runtimeAttributes"`
	LoggerSinks       []SinkLevel        `yaml:"loggerSinks"`
	NoMasking         bool               `yaml:"disableSensitiveFieldsMasking"`
	NoDefaultTrigger  bool               `yaml:"disableDefaultHTTPTrigger"`
	Triggers          map[string]Trigger `yaml:"triggers"`
}

// Variable is one of the function's environment.
type Variable struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// Trigger is where events come from, as it is written.
type Trigger struct {
	Kind               string `yaml:"kind"`
	URL                string `yaml:"url"`
	Username           string `yaml:"username"`
	Password           string `yaml:"password"`
	Workers            int    `yaml:"numWorkers"`
	Availability       *int   `yaml:"workerAvailabilityTimeoutMilliseconds"`
	Allocator          string `yaml:"workerAllocatorName"`
	TerminationTimeout string `yaml:"workerTerminationTimeout"`
	Batch              *Batch `yaml:"batch"`
	Mode               string `yaml:"mode"`
	Async              struct {
		MaxConnections int `yaml:"maxConnectionsNumber"`
	} `yaml:"async"`
	Attributes Attributes `yaml:"attributes"`
}

// Batch says that the handler gets several events at once.
type Batch struct {
	Mode    string `yaml:"mode"`
	Size    int    `yaml:"batchSize"`
	Timeout string `yaml:"timeout"`
}

// Platform is platform.yaml, as far as a pod reads it.
type Platform struct {
	WebAdmin    Endpoint `yaml:"webAdmin"`
	HealthCheck Endpoint `yaml:"healthCheck"`
	Logger      struct {
		Sinks     map[string]Sink `yaml:"sinks"`
		Functions []SinkLevel     `yaml:"functions"`
	} `yaml:"logger"`
	Metrics struct {
		Sinks     map[string]Sink `yaml:"sinks"`
		Functions []string        `yaml:"functions"`
	} `yaml:"metrics"`
	CronTriggerCreationMode string `yaml:"cronTriggerCreationMode"`
}

// Endpoint is a port of ours.
type Endpoint struct {
	Enabled *bool  `yaml:"enabled"`
	Address string `yaml:"listenAddress"`
}

// Sink is where log lines or figures go.
type Sink struct {
	Kind       string     `yaml:"kind"`
	URL        string     `yaml:"url"`
	Enabled    *bool      `yaml:"enabled"`
	Attributes Attributes `yaml:"attributes"`
}

// SinkLevel names a sink, and the least important level that goes there.
type SinkLevel struct {
	Level string `yaml:"level"`
	Sink  string `yaml:"sink"`
}

// number is a whole number that may be written as text.
type number int

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *number) UnmarshalYAML(v *yaml.Node) error {
	i, err := strconv.Atoi(v.Value)
	if err != nil && v.Value != "" {
		return fmt.Errorf("line %d: %q is no whole number", v.Line, v.Value)
	}
	*n = number(i)
	return nil
}

// ParseConfig reads processor.yaml. JSON is YAML.
func ParseConfig(text []byte) (c Config, err error) {
	if err := yaml.Unmarshal(text, &c); err != nil {
		return Config{}, fmt.Errorf("read the function's configuration: %w", err)
	}
	return c, nil
}

// ParsePlatform reads platform.yaml.
func ParsePlatform(text []byte) (p Platform, err error) {
	if err := yaml.Unmarshal(text, &p); err != nil {
		return Platform{}, fmt.Errorf("read the platform's configuration: %w", err)
	}
	return p, nil
}
