package nuclio

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Health answers at the port of the health check.
type Health struct {
	Ready func() bool
}

// ServeHTTP implements http.Handler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	facts := map[string]string{}
	code := http.StatusOK
	switch r.URL.Path {
	case "/live":
	case "/ready":
		facts["processor_readiness"] = "OK"
		if !h.Ready() {
			facts["processor_readiness"] = "Processor not ready yet"
			code = http.StatusServiceUnavailable
		}
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	facts["processor_liveness"] = "OK"
	if r.URL.Query().Get("full") != "1" {
		clear(facts)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	writeJSON(w, facts)
}

// Admin answers at the port of the web admin: what the triggers are. It tells nothing of the environment.
type Admin struct {
	Settings *Settings
}

// ServeHTTP implements http.Handler.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/triggers")
	name = strings.Trim(name, "/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if _, ok := strings.CutSuffix(name, "/stats"); ok {
		w.Header().Set("Content-Type", plainText)
		_, _ = w.Write([]byte(`{"stats":"example"}`)) // the client's trouble
		return
	}
	all := map[string]any{}
	for i := range a.Settings.Triggers {
		src := &a.Settings.Triggers[i]
		all[src.Name] = src.document()
	}
	var shown any = all
	if name != "" {
		if shown, ok = all[name]; !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, shown)
}

// document is the trigger as it is configured.
func (src *Source) document() map[string]any {
	return map[string]any{
		"id": src.Name, "name": src.Name, "kind": src.Kind, "url": src.Address, "numWorkers": src.Workers,
		"workerAllocatorName": src.as.Allocator, "workerAvailabilityTimeoutMilliseconds": src.Wait.Milliseconds(),
		"workerTerminationTimeout": src.as.TerminationTimeout, "attributes": src.as.Attributes,
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("{}")
	}
	_, _ = w.Write(b) // the client's trouble
}
