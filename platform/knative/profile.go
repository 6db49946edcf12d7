package knative

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// Profiles answers what `go tool pprof` and `go tool trace` ask for below /debug/pprof/. It is net/http/pprof in short,
// which would make the binary 0.2 MB larger.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/{$}", listProfiles)
	mux.HandleFunc("GET /debug/pprof/{name}", takeProfile)
	mux.HandleFunc("GET /debug/pprof/profile", during(30*time.Second, pprof.StartCPUProfile, pprof.StopCPUProfile))
	mux.HandleFunc("GET /debug/pprof/trace", during(time.Second, trace.Start, trace.Stop))
	return mux
}

func listProfiles(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, p := range pprof.Profiles() {
		_, _ = fmt.Fprintf(w, "%s %d\n", p.Name(), p.Count()) // who has left does not care
	}
	_, _ = io.WriteString(w, "profile\ntrace\n") // likewise
}

// takeProfile writes a profile, as text with debug=1 or 2.
func takeProfile(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	if r.FormValue("gc") != "" {
		runtime.GC()
	}
	debug, _ := strconv.Atoi(r.FormValue("debug")) // what is no number is 0
	w.Header().Set("Content-Type", "application/octet-stream")
	if debug > 0 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_ = p.WriteTo(w, debug) // who has left does not care
}

// during records for as many seconds as the request says, ten minutes at most.
func during(otherwise time.Duration, start func(io.Writer) error, stop func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d := otherwise
		if n, err := strconv.ParseFloat(r.FormValue("seconds"), 64); err == nil && n > 0 {
			d = time.Duration(min(n, 600) * float64(time.Second))
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := start(w); err != nil { // somebody else does
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer stop()
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
}
