package zygote_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog/zygote"
)

func TestZygotesAreForCommandLinesThatAreUnderstood(t *testing.T) {
	for command, want := range map[string]string{
		"python3 index.py":                          "python3 | file index.py",
		"/usr/bin/python3.11 -u -W error a.py -c x": "/usr/bin/python3.11 -u -W error | file a.py -c x",
		"python -Xutf8 -c CODE -u":                  "python -Xutf8 | code CODE -u",
		"ruby -W0 --disable-gems -I lib index.rb":   "ruby -W0 --disable-gems -I lib | file index.rb",
		"perl -w -Ilib index.pl a":                  "perl -w -Ilib | file index.pl a",
		"python3":                                   "",
		"python3 -":                                 "",
		"python3 -u":                                "",
		"python3 -c":                                "",
		"python3 -W":                                "",
		"python3 -m http.server":                    "",
		"python3 -i index.py":                       "",
		"ruby -e CODE":                              "",
		"perl -e CODE":                              "",
		"perl -T index.pl":                          "",
		"node index.js":                             "",
		"./python.sh index.py":                      "",
	} {
		for _, load := range []zygote.Load{zygote.Preload, zygote.Later} {
			argv, source, ok := zygote.For(strings.Fields(command), load)
			require.Equal(t, want != "", ok, command)
			if !ok {
				continue
			}
			got := strings.Join(argv, " ")
			before, after, found := strings.Cut(got, " "+zygote.File+" ")
			require.True(t, found)
			words := strings.SplitN(after, " ", 4) // whether to preload and two numbers of system calls
			require.Equal(t, string(load), words[0])
			require.Equal(t, want, before+" | "+words[3])
			require.Contains(t, source, "how")
		}
	}
	_, _, ok := zygote.For(nil, zygote.Preload)
	require.False(t, ok)
	_, _, ok = zygote.For([]string{"python3", "a.py"}, zygote.Resident)
	require.True(t, ok)
	_, _, ok = zygote.For([]string{"ruby", "a.rb"}, zygote.Resident)
	require.False(t, ok)
}
