package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBudgetsHaveAMarginAndAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budgets.json")
	measured := budgets{"fnpod": {instructionsName: 1000, callsName: 5}}
	require.NoError(t, measured.record(file))
	limits, err := readBudgets(file)
	require.NoError(t, err)
	require.Equal(t, budgets{"fnpod": {instructionsName: 1100, callsName: 5.5}}, limits)

	_, err = limits.judge(measured)
	require.NoError(t, err)
	text, err := limits.judge(budgets{"fnpod": {instructionsName: 1101, callsName: 5}})
	require.EqualError(t, err, "instructions of fnpod: 1101, budget 1100")
	require.Contains(t, text, "| fnpod: instructions | 1101 | 1100 | **exceeded** |")
	require.Contains(t, text, "| fnpod: system calls | 5.00 | 5.50 | kept |")

	_, err = limits.judge(budgets{"new": {callsName: 1}})
	require.ErrorContains(t, err, "no budget is recorded")
	_, err = limits.judge(budgets{"fnpod": {}})
	require.EqualError(t, err, "nothing could be counted")
}

func TestInstructionsAreReadFromTheSummaryOfCachegrind(t *testing.T) {
	n, err := parseInstructions("==1== Command: fnpod\n==1== I   refs:      102,146,744\n")
	require.NoError(t, err)
	require.Equal(t, int64(102146744), n)
	_, err = parseInstructions("==1== Aborted\n")
	require.ErrorContains(t, err, "Aborted")
}
