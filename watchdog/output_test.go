package watchdog_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestW14BothStreamsArriveAsLines(t *testing.T) {
	noLeaks(t)
	out := &recorder{}
	c := program(t, "print", "one", "", "two")
	c.Output = out.add
	<-start(t, c).Done()
	require.Equal(t, []string{"one", "", "two"}, out.text(watchdog.Stdout))
	require.Equal(t, []string{"err one", "err ", "err two"}, out.text(watchdog.Stderr))
}

func TestW14ALongLineIsCutAndReadToItsEnd(t *testing.T) {
	noLeaks(t)
	out := &recorder{}
	c := program(t, "longline", itoa(10<<20))
	c.Output = out.add
	p := start(t, c)
	require.Equal(t, watchdog.Exit{}, p.Exit())
	lines := out.of(watchdog.Stdout)
	require.Len(t, lines, 3)
	require.True(t, lines[0].Cut)
	require.Equal(t, strings.Repeat("y", watchdog.MaxLine), string(lines[0].Text))
	require.Equal(t, "after", string(lines[1].Text))
	require.Equal(t, "\x00\xff\xfe no newline", string(lines[2].Text))
	require.False(t, lines[1].Cut || lines[2].Cut)
	require.Zero(t, p.Dropped())
}

// What is longer than a line may be is skipped, or split without loss; lengths around every bound.
func TestLineRules(t *testing.T) {
	for _, rule := range []watchdog.LineRule{
		{},
		{Bytes: 100},
		{Bytes: 100, Split: true},
		{Split: true},
		{Bytes: 40_000},
		{Bytes: 40_000, Split: true},
		{Bytes: 70_000, Split: true},
		{Bytes: -1, Split: true},
		{Bytes: 5 << 20},
	} {
		most := map[bool]int{true: 1 << 20, false: rule.Bytes}[rule.Bytes < 0 || rule.Bytes > 1<<20]
		if rule.Bytes == 0 {
			most = watchdog.MaxLine
		}
		for _, size := range []int{0, 1, 99, 100, 101, 250, 16_384, 16_385, 39_999, 40_000, 40_001, 120_000, 1 << 20, 1<<20 + 1} {
			var want, got []string
			line := strings.Repeat("0123456789", size/10+1)[:size]
			for rest := line; ; {
				n := min(len(rest), most)
				want, rest = append(want, rest[:n]), rest[n:]
				if len(rest) == 0 || !rule.Split {
					break
				}
			}
			out := &recorder{}
			l := watchdog.NewLines(watchdog.Config{Output: out.add, OutputRate: -1, Lines: rule})
			for rest := line + "\nafter\n" + line; len(rest) > 0; {
				rest = rest[l.Write([]byte(rest[:min(len(rest), 7000)])):]
			}
			l.Close()
			got = out.text(watchdog.Stdout)
			if size == 0 {
				require.Equal(t, []string{"", "after"}, got)
				continue
			}
			require.Equal(t, append(append(want, "after"), want...), got, "%+v, a line of %d", rule, size)
		}
	}
}

func TestW14AFloodIsReadAndCounted(t *testing.T) {
	noLeaks(t)
	const lines = 50_000
	out := &recorder{}
	c := program(t, "flood", itoa(lines))
	c.Output, c.OutputRate = out.add, 20_000
	p := start(t, c)
	require.Equal(t, watchdog.Exit{}, p.Exit(), "the process is never held up")
	var passed, dropped int64
	for _, l := range out.of(watchdog.Stdout) {
		dropped += l.Dropped
		if l.Text != nil {
			passed += int64(len(l.Text)) + 1
		}
	}
	require.Equal(t, int64(lines*100), passed+dropped)
	require.Equal(t, dropped, p.Dropped())
	require.Positive(t, dropped)
	require.GreaterOrEqual(t, passed, int64(20_000), "one second's worth passes at once")
}

func TestW14ThePanicOfAHandlerDoesNotStopTheReading(t *testing.T) {
	noLeaks(t)
	c := program(t, "flood", "50000") // more than a pipe holds
	calls := 0
	c.Output = func(watchdog.Line) { calls++; panic("bug") }
	p := start(t, c)
	require.Equal(t, watchdog.Exit{}, p.Exit())
	require.Equal(t, 1, calls)
	require.Equal(t, int64(50000-1)*100, p.Dropped())
}

func TestW14TheRateIsBytesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []watchdog.Line
		l := watchdog.NewLines(watchdog.Config{OutputRate: 100_000, Output: func(l watchdog.Line) {
			l.Text = []byte(string(l.Text))
			got = append(got, l)
		}})
		line := []byte(strings.Repeat("z", 9_999) + "\n")
		for range 15 {
			l.Write(line)
		}
		require.Len(t, got, 10)
		time.Sleep(100 * time.Millisecond) // one line's worth
		l.Write(line)
		l.Write(line)
		require.Len(t, got, 11)
		require.Equal(t, int64(5*10_000), got[10].Dropped)
		l.Close()
		require.Equal(t, watchdog.Line{Stream: watchdog.Stdout, Text: []byte{}, Dropped: 10_000}, got[11])
		time.Sleep(time.Hour) // no more than one second's worth is saved up
		got = nil
		for range 15 {
			l.Write(line)
		}
		require.Len(t, got, 10)
	})
}

// W14: a record is made of each line, so short ones are bounded in number.
func TestW14ShortLinesCostMoreThanTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, dropped := 0, int64(0)
		l := watchdog.NewLines(watchdog.Config{OutputRate: 64 << 10, Output: func(l watchdog.Line) {
			dropped += l.Dropped
			if len(l.Text) > 0 {
				lines++
			}
		}})
		for text := []byte(strings.Repeat("y\n", 5000)); len(text) > 0; {
			text = text[l.Write(text):]
		}
		l.Close()
		require.Equal(t, 1024, lines)
		require.EqualValues(t, 2*(5000-1024), dropped, "real bytes are counted")
	})
}

func TestW14LinesAreCutAtTheLimit(t *testing.T) {
	for _, length := range []int{watchdog.MaxLine - 1, watchdog.MaxLine, watchdog.MaxLine + 1, 3 * watchdog.MaxLine} {
		var got []watchdog.Line
		l := watchdog.NewLines(watchdog.Config{OutputRate: -1, Output: func(l watchdog.Line) {
			l.Text = []byte(string(l.Text))
			got = append(got, l)
		}})
		for text := []byte(strings.Repeat("a", length) + "\nb"); len(text) > 0; {
			text = text[l.Write(text):]
		}
		l.Close()
		require.Len(t, got, 2)
		require.Len(t, got[0].Text, min(length, watchdog.MaxLine))
		require.Equal(t, length > watchdog.MaxLine, got[0].Cut)
		require.Equal(t, "b", string(got[1].Text))
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\x00c"), 3)
	f.Add([]byte(strings.Repeat("x", 40000)+"\ny"), 16384)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		step = max(1, step, len(text)/100)
		var got []string
		l := watchdog.NewLines(watchdog.Config{OutputRate: -1, Output: func(l watchdog.Line) { got = append(got, string(l.Text)) }})
		for rest := text; len(rest) > 0; {
			rest = rest[l.Write(rest[:min(step, len(rest))]):]
		}
		l.Close()
		want := strings.Split(string(text), "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i][:min(len(want[i]), watchdog.MaxLine)], got[i])
		}
	})
}
