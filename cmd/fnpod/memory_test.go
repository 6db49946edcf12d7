package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pages that are not as in the file, or could become so, would be lost.
func TestOnlyUnchangedPagesOfFilesAreDropped(t *testing.T) {
	const smaps = `00400000-00a9a000 r-xp 00000000 fe:00 123     /fnpod
Rss:                5800 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00a9a000-01206000 r--p 0069a000 fe:00 123     /fnpod with a name - of several words
Anonymous:             0 kB
01206000-0129c000 rw-p 00e06000 fe:00 123     /fnpod
Anonymous:             0 kB
02000000-02001000 r--p 00e06000 fe:00 123     /relocated
Anonymous:             4 kB
03000000-03001000 r--s 00000000 00:01 124     /memfd:lane (deleted)
Anonymous:             0 kB
0129c000-03306000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f2997013000-7f2997015000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7fff6e675000-7fff6e696000 ---p 00000000 fe:00 125 /guard
Anonymous:             0 kB
`
	require.Equal(t, []mapping{{0x400000, 0xa9a000}, {0xa9a000, 0x1206000}}, unchangedFiles(strings.NewReader(smaps)))
	require.Empty(t, unchangedFiles(strings.NewReader("")))
	require.Empty(t, unchangedFiles(strings.NewReader("x-y r-xp 0 0 1 /x\nAnonymous: 0 kB\n-\n\n")))
}

func TestTheProgramRunsOnWithoutItsPages(t *testing.T) {
	require.NoError(t, dropCode())
	require.Equal(t, "a", strings.ToLower("A"))
	smaps, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer smaps.Close()
	require.NotEmpty(t, unchangedFiles(smaps))
}
