package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

func TestDefaultConfigIsValid(t *testing.T) {
	require.NoError(t, queue.DefaultConfig().Validate())
}

func TestValidateNamesSettingValueAndRange(t *testing.T) {
	for _, test := range []struct {
		name   string
		config queue.Config
		want   string
	}{
		{"negative limit", queue.Config{Discipline: queue.FIFO, Limit: -1}, "queue-limit -1: allowed are 0 (no limit) to 1000000"},
		{"huge limit", queue.Config{Discipline: queue.FIFO, Limit: 1000001}, "queue-limit 1000001: allowed are 0 (no limit) to 1000000"},
		{"negative depth", queue.Config{Discipline: queue.FIFO, Depth: -5}, "queue-depth -5: allowed are 0 (nobody waits) to 1000000"},
		{"huge depth", queue.Config{Discipline: queue.FIFO, Depth: 1 << 40}, "queue-depth 1099511627776: allowed are 0 (nobody waits) to 1000000"},
		{"negative wait", queue.Config{Discipline: queue.FIFO, MaxWait: -time.Second}, "queue-max-wait -1s: allowed are 0 (no bound) to 24h0m0s"},
		{"endless wait", queue.Config{Discipline: queue.FIFO, MaxWait: 25 * time.Hour}, "queue-max-wait 25h0m0s: allowed are 0 (no bound) to 24h0m0s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.EqualError(t, test.config.Validate(), test.want)
		})
	}
}

func TestValidateReportsAllBadValuesAtOnce(t *testing.T) {
	err := queue.Config{Discipline: queue.FIFO, Limit: -1, Depth: -1, MaxWait: -1}.Validate()
	require.ErrorContains(t, err, "queue-limit")
	require.ErrorContains(t, err, "queue-depth")
	require.ErrorContains(t, err, "queue-max-wait")
}

func TestValidateAcceptsTheEndsOfEachRange(t *testing.T) {
	require.NoError(t, queue.Config{Discipline: queue.FIFO}.Validate())
	require.NoError(t, queue.Config{Discipline: queue.FIFO, Limit: 1_000_000, Depth: 1_000_000, MaxWait: 24 * time.Hour}.Validate())
}
