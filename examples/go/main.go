// An example function: greets, reads JSON, tells what was uploaded, and streams.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/fnpod/fnpod/workers/function"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", greet)
	mux.HandleFunc("POST /", greetJSON)
	mux.HandleFunc("PUT /", sum)
	mux.HandleFunc("GET /stream", stream)
	if err := function.Serve(mux); err != nil {
		log.Fatal(err)
	}
}

func greet(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" {
		name = "world"
	}
	fmt.Fprintf(w, "hello %s\n", name)
}

func greetJSON(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Content-Type"), "json") {
		sum(w, r)
		return
	}
	in := struct {
		Name string `json:"name"`
	}{Name: "world"}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, map[string]any{"hello": in.Name})
}

func sum(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // an error means that the client is gone
}

// stream sends each part at once, and stops when nobody listens any more.
func stream(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range 5 {
		fmt.Fprintf(w, "part %d\n", i)
		w.(http.Flusher).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
