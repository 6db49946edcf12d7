package watchdog_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestHowMuchMemoryIsLeft(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		file = filepath.Join(root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	}
	_, limited := watchdog.FindMemoryRoomIn(root, []byte("0::/pod\n")).Left()
	require.False(t, limited, "no group")

	write("pod/memory.max", "max")
	write("pod/memory.current", "700")
	write("pod/memory.stat", "anon 600\nfile 100\ninactive_file 70\nactive_file 30")
	room := watchdog.FindMemoryRoomIn(root, []byte("0::/pod\n"))
	_, limited = room.Left()
	require.False(t, limited, "no limit")
	for limit, want := range map[string]int64{"1000": 370, "600": -30} { // it may change, and be passed
		write("pod/memory.max", limit)
		left, limited := room.Left()
		require.True(t, limited)
		require.Equal(t, want, left)
	}

	write("memory/memory.limit_in_bytes", "9223372036854771712") // in a container the path is one of outside
	write("memory/memory.usage_in_bytes", "400")
	write("memory/memory.stat", "cache 10\ninactive_file 1\ntotal_inactive_file 5")
	room = watchdog.FindMemoryRoomIn(root, []byte("4:memory:/outside/x\n"))
	_, limited = room.Left()
	require.False(t, limited)
	write("memory/memory.limit_in_bytes", "1000")
	left, limited := room.Left()
	require.True(t, limited)
	require.EqualValues(t, 605, left)
}
