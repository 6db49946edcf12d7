package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// evidence is what experiments wrote with --json, by the name of the file.
type evidence map[string]*results

// readEvidence reads all results of a folder.
func readEvidence(folder string) (evidence, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	e := evidence{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := &results{}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		e[strings.TrimSuffix(filepath.Base(file), ".json")] = r
	}
	if len(e) == 0 {
		return nil, fmt.Errorf("%s: no results", folder)
	}
	return e, nil
}

// cell says which samples of an experiment are meant; what is 0 or empty is so in them.
type cell struct {
	experiment  string
	connections int
	body        int
	rate        float64
	protocol    string
}

// of are the samples of a variant by round, as far as they were taken.
func (e evidence) of(c cell, variant string) map[int]*record {
	by := map[int]*record{}
	r := e[c.experiment]
	if r == nil {
		return by
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Variant == variant && s.Connections == c.connections && s.Body == c.body && s.Rate == c.rate && s.Protocol == c.protocol && s.Streams <= 1 {
			by[s.Round] = s
		}
	}
	return by
}

// ratio is the median of the ratios within each round, false if a variant was not measured.
func (e evidence) ratio(c cell, variant, reference string, f func(*record) float64) (float64, bool) {
	references := e.of(c, reference)
	var ratios []float64
	for round, s := range e.of(c, variant) {
		if r := references[round]; r != nil && f(r) != 0 {
			ratios = append(ratios, f(s)/f(r))
		}
	}
	return median(ratios), len(ratios) > 0
}

// added is the ratio of what two variants add to direct.
func (e evidence) added(c cell, variant, reference string, f func(*record) float64) (float64, bool) {
	bare, references := e.of(c, directName), e.of(c, reference)
	var ratios []float64
	for round, s := range e.of(c, variant) {
		if d, r := bare[round], references[round]; d != nil && r != nil && f(r) > f(d) {
			ratios = append(ratios, (f(s)-f(d))/(f(r)-f(d)))
		}
	}
	return median(ratios), len(ratios) > 0
}

// figure is the median of a figure, false if it was not measured.
func (e evidence) figure(experiment, variant, what string) (float64, bool) {
	values := e.values(experiment, variant, what)
	return median(values), len(values) > 0
}

// figureRatio is the median of the ratios within each round of two figures.
func (e evidence) figureRatio(experiment, variant, what, reference, referenceWhat string) (float64, bool) {
	values, references := e.values(experiment, variant, what), e.values(experiment, reference, referenceWhat)
	return ratioOf(values, references), len(values) > 0 && len(references) > 0
}

func (e evidence) values(experiment, variant, what string) []float64 {
	if e[experiment] == nil {
		return nil
	}
	return (&recording{figures: e[experiment].Figures}).values(variant, what)
}

// What a record says.
func cpuOfRecord(r *record) float64  { return r.CPU + r.ChildCPU }
func rateOfRecord(r *record) float64 { return float64(r.Requests) / r.Seconds }
func p50OfRecord(r *record) float64  { return r.P50 }
func rssOfRecord(r *record) float64  { return float64(r.RSS) }
