package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// results are all samples of a run, for programs.
type results struct {
	Date     time.Time `json:"date"`
	Machine  machine   `json:"machine"`
	Command  []string  `json:"command"`
	Fnpod    string    `json:"fnpod"` // what fnpod version prints
	TooNoisy bool      `json:"too_noisy"`
	Samples  []record  `json:"samples"`
}

// machine is what figures depend on.
type machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

// record is a sample. Times are in microseconds, memory in bytes.
type record struct {
	Variant     string  `json:"variant"`
	Connections int     `json:"connections"`
	Round       int     `json:"round"`
	Body        int     `json:"body_bytes,omitempty"`
	Rate        float64 `json:"constant_rate,omitempty"`
	Requests    int64   `json:"requests"`
	Seconds     float64 `json:"seconds"`
	P50         float64 `json:"p50_us"`
	P90         float64 `json:"p90_us"`
	P99         float64 `json:"p99_us"`
	P999        float64 `json:"p999_us"`
	CPU         float64 `json:"cpu_us_per_request"`
	ChildCPU    float64 `json:"children_cpu_us_per_request"`
	RSS         int64   `json:"rss_bytes"`
	Anonymous   int64   `json:"anonymous_bytes"`
	Switches    float64 `json:"context_switches_per_request"`
	Noise       float64 `json:"processors_used_by_others"`
}

// write writes all samples into the file of --json.
func (c *sampling) write(ctx context.Context, all samples) error {
	if c.JSON == "" {
		return nil
	}
	r := results{
		Date: time.Now().UTC().Truncate(time.Second), Command: os.Args,
		Machine: machine{runtime.NumCPU(), processor(), firstLine(os.ReadFile("/proc/sys/kernel/osrelease")), runtime.Version()},
		Fnpod:   firstLine(exec.CommandContext(ctx, c.Fnpod, "version").Output()), TooNoisy: c.tooNoisy(all),
	}
	for _, s := range all {
		at := func(p float64) float64 { return latencyAt(p)(&s) }
		r.Samples = append(r.Samples, record{
			Variant: s.variant, Connections: s.connections, Round: s.round, Body: s.body, Rate: s.perSecond,
			Requests: s.load.requests, Seconds: s.load.elapsed.Seconds(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
			CPU: ownPerRequest(&s), ChildCPU: childPerRequest(&s), RSS: s.used.rss, Anonymous: s.used.anonymous,
			Switches: switchesPerRequest(&s), Noise: s.noise,
		})
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.JSON, append(text, '\n'), 0o644)
}
