package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// M4: ten records per second and reason; what was left out is counted, per reason.
func TestM4WarningsOfOneKindHaveARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := opened()
		h := limitLog(slog.NewTextHandler(out, nil))
		log := slog.New(h).With("pod", 1)
		count := func(text string) int { return strings.Count(strings.Join(out.lines(), "\n"), text) }
		for i := range 100 {
			log.Warn("request failed", "reason", "timeout", "n", i)
			log.Warn("request failed", "reason", "cut", "n", i)
			log.Error("worker died", "n", i)
			log.Info("request", "n", i)
			log.Error("function log", "n", i)
		}
		require.Equal(t, 10, count("reason=timeout"))
		require.Equal(t, 10, count("reason=cut"))
		require.Equal(t, 10, count("worker died"))
		require.Equal(t, 100, count("msg=request "))
		require.Equal(t, 100, count(`msg="function log"`))
		require.EqualValues(t, 3*90, h.total.Load())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, 3, count("left out"))
		require.Equal(t, 1, count(`message="request failed" reason=cut count=90`))
		require.Equal(t, 1, count(`message="worker died" count=90`))

		log.Warn("request failed", "reason", "timeout")
		require.Equal(t, 12, count("reason=timeout"), "a new second")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, 3, count("left out"), "nothing more to tell")
	})
}

func TestM4KindsHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := limitLog(slog.NewTextHandler(&out, nil))
		for i := range 1000 {
			slog.New(h).Warn("request failed", "reason", fmt.Sprint("r", i))
		}
		require.LessOrEqual(t, len(h.kinds), mostKinds+1)
		h.tell()
		require.Contains(t, out.String(), `message="records of other kinds"`)
	})
}
