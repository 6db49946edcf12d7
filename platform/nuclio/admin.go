package nuclio

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/fnpod/fnpod/metrics"
)

const jsonType = "application/json; charset=utf-8"

// Health answers at the port of the health check. It implements metrics.Server.Answer.
func Health(ready func() bool) func(method, path, query string) metrics.Answer {
	return func(method, path, query string) metrics.Answer {
		facts := map[string]string{"processor_liveness": "OK"}
		code := http.StatusOK
		switch path {
		case "/live":
		case "/ready":
			facts["processor_readiness"] = "OK"
			if !ready() {
				facts["processor_readiness"] = "Processor not ready yet"
				code = http.StatusServiceUnavailable
			}
		default:
			return metrics.Answer{Code: http.StatusNotFound, Type: plainText, Body: []byte("404 page not found\n")}
		}
		if method != http.MethodGet {
			return metrics.Answer{Code: http.StatusMethodNotAllowed, Type: plainText, Body: []byte("method not allowed\n")}
		}
		if !slices.Contains(strings.Split(query, "&"), "full=1") {
			clear(facts)
		}
		return metrics.Answer{Code: code, Type: jsonType, Body: document(facts)}
	}
}

// Admin answers at the port of the web admin: what the triggers are. It tells nothing of the environment. It implements
// metrics.Server.Answer.
func (s *Settings) Admin(method, path, _ string) metrics.Answer {
	name, ok := strings.CutPrefix(path, "/triggers")
	name = strings.Trim(name, "/")
	switch {
	case !ok:
		return metrics.Answer{Code: http.StatusNotFound, Type: plainText, Body: []byte("404 page not found\n")}
	case method != http.MethodGet:
		return metrics.Answer{Code: http.StatusMethodNotAllowed, Allow: http.MethodGet}
	case strings.HasSuffix(name, "/stats"):
		return metrics.Answer{Code: http.StatusOK, Type: plainText, Body: []byte(`{"stats":"example"}`)}
	}
	all := map[string]any{}
	for i := range s.Triggers {
		src := &s.Triggers[i]
		shown := src.as
		if s.Masked != nil {
			shown = s.Masked[src.Name]
		}
		all[src.Name] = src.document(shown.Attributes)
	}
	var shown any = all
	if name != "" {
		if shown, ok = all[name]; !ok {
			return metrics.Answer{Code: http.StatusNotFound}
		}
	}
	return metrics.Answer{Code: http.StatusOK, Type: "application/json", Body: document(shown)}
}

// document is the trigger as it is configured, with what may be seen of its attributes.
func (src *Source) document(attributes Attributes) map[string]any {
	return map[string]any{
		"id": src.Name, "name": src.Name, "kind": src.Kind, "url": src.Address, "numWorkers": src.Workers,
		"workerAllocatorName": src.as.Allocator, "workerAvailabilityTimeoutMilliseconds": src.Wait.Milliseconds(),
		"workerTerminationTimeout": src.as.TerminationTimeout, "attributes": attributes,
	}
}

// document is v as JSON.
func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // a number of YAML that JSON has not
		return []byte("{}")
	}
	return b
}
