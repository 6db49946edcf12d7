package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummary(t *testing.T) {
	const (
		started = `{"Action":"run","Package":"p","Test":"TestA"}` + "\n"
		output  = `{"Action":"output","Package":"p","Test":"TestA","Output":"told\n"}` + "\n"
		passed  = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
		ok      = `{"Action":"output","Package":"p","Output":"PASS\n"}` + "\n" +
			`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
	)
	tests := []struct {
		name  string
		lines string
		want  string
		good  bool
	}{
		{"pass", started + output + passed + ok, "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n", true},
		{"other lines go on", "installing x\n" + started + passed, "installing x\n1 passed, 0 failed, 0 skipped\n", true},
		{"fail", started + output + `{"Action":"fail","Package":"p","Test":"TestA"}`, "told\n0 passed, 1 failed, 0 skipped\n", false},
		{
			"skip", started + output + `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n" + ok,
			"told\nok  \tp\t0.1s\nskipped, but should have run: p TestA\n0 passed, 0 failed, 1 skipped\n", false,
		},
		{
			"order of tests that fail", `{"Action":"output","Package":"p","Output":"-test.shuffle 7\n"}` + "\n" + `{"Action":"fail","Package":"p"}`,
			"-test.shuffle 7\n0 passed, 1 failed, 0 skipped\n", false,
		},
		{"order of tests that pass", `{"Action":"output","Package":"p","Output":"-test.shuffle 7\n"}` + "\n" + started + passed + ok, "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n", true},
		{"package fails", started + passed + `{"Action":"fail","Package":"p"}`, "1 passed, 1 failed, 0 skipped\n", false},
		{"does not end", started + output, "did not end: p TestA\ntold\n0 passed, 0 failed, 0 skipped\n", false},
		{
			"does not build", `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: no\n"}` + "\n" + `{"Action":"fail","Package":"p"}`,
			"p.go:1: no\n0 passed, 1 failed, 0 skipped\n", false,
		},
		{"nothing", "", "0 passed, 0 failed, 0 skipped\n", false},
		{"package without tests", started + passed + `{"Action":"skip","Package":"q"}`, "1 passed, 0 failed, 0 skipped\n", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			require.Equal(t, test.good, summarise(strings.NewReader(test.lines), &out))
			require.Equal(t, test.want, out.String())
		})
	}
}
