package nuclio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/nuclio"
)

// §6: five or six fields, names, steps, lists, descriptors, zones; a * as second is 0.
func TestNuclio6Schedules(t *testing.T) {
	t.Parallel()
	from := time.Date(2024, 2, 28, 23, 58, 30, 5, time.UTC) // a Wednesday of a leap year
	for _, test := range []struct{ schedule, want string }{
		{"TZ=UTC * * * * *", "2024-02-28T23:59:00Z"},
		{"TZ=UTC * * * * * *", "2024-02-28T23:59:00Z"},
		{"TZ=UTC */20 * * * * *", "2024-02-28T23:58:40Z"},
		{"TZ=UTC 30 58 23 28 2 *", "2025-02-28T23:58:30Z"},
		{"CRON_TZ=UTC 0 0 29 feb *", "2024-02-29T00:00:00Z"},
		{"TZ=UTC 0 0 29 2 *", "2024-02-29T00:00:00Z"},
		{"TZ=UTC 15,45 8-10/2 * * mon-fri", "2024-02-29T08:15:00Z"},
		{"TZ=UTC 0 12 1 * sun", "2024-03-01T12:00:00Z"},
		{"TZ=UTC 0 12 * * 7", "2024-03-03T12:00:00Z"},
		{"TZ=UTC 5/30 * * * *", "2024-02-29T00:05:00Z"},
		{"TZ=UTC @hourly", "2024-02-29T00:00:00Z"},
		{"TZ=UTC @monthly", "2024-03-01T00:00:00Z"},
		{"TZ=UTC @yearly", "2025-01-01T00:00:00Z"},
		{"TZ=UTC @weekly", "2024-03-03T00:00:00Z"},
		{"@every 90s", "2024-02-29T00:00:00Z"},
		{"TZ=UTC 0 0 30 2 *", "0001-01-01T00:00:00Z"},
	} {
		s, err := nuclio.ParseSchedule(test.schedule)
		require.NoError(t, err, test.schedule)
		require.Equal(t, test.want, s.Next(from).UTC().Truncate(time.Second).Format(time.RFC3339), test.schedule)
	}
	for _, bad := range []string{"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "5-1 * * * *", "*/0 * * * *", "@every x", "@every 1ms", "TZ=No/Where * * * * *", "1,,2 * * * *"} {
		_, err := nuclio.ParseSchedule(bad)
		require.Error(t, err, bad)
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("*/5 1-3 * jan mon")
	f.Add("@every 1s")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := nuclio.ParseSchedule(text)
		if err != nil {
			return
		}
		from := time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)
		if next := s.Next(from); !next.IsZero() {
			require.True(t, next.After(from), "%s", text)
		}
	})
}
