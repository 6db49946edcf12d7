package workers

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/protocol"
)

func TestAnAnswerIsCutWhereItsBodyBegins(t *testing.T) {
	whole := append(testFrame(protocol.Response, 0, "content-type\x00text/plain", ""), "body"...)
	whole[4] = 4
	for n := range len(whole) - 4 {
		_, size, err := CutAnswer(whole[:n])
		require.NoError(t, err)
		require.Zero(t, size)
	}
	a, size, err := CutAnswer(whole)
	require.NoError(t, err)
	require.Equal(t, "body", string(whole[size:]))
	require.EqualValues(t, 4, a.Length)
	var got fieldList
	require.NoError(t, a.AddTo(&got))
	require.Equal(t, fieldList{"content-type: text/plain"}, got)

	a, _, err = CutAnswer(testFrame(protocol.Response, protocol.FlagMore, "", ""))
	require.NoError(t, err)
	require.EqualValues(t, -1, a.Length)
	a, _, err = CutAnswer(testFrame(protocol.Error, 0, "type\x00E\x00message\x00m", ""))
	require.NoError(t, err)
	require.Equal(t, &HandlerError{Status: 500, Type: "E", Message: "m"}, a.Failed)
}

func TestAnAnswerThatIsNoneIsRefused(t *testing.T) {
	bad := testFrame(protocol.Response, 0, "", "")
	bad[10], bad[11] = 99, 0
	for _, b := range [][]byte{
		testFrame(protocol.Data, 0, "", ""), testFrame(protocol.Response, protocol.FlagLane, "", ""), []byte(strings.Repeat("printed by a library\n", 3)),
	} {
		_, _, err := CutAnswer(b)
		require.ErrorIs(t, err, ErrProtocol)
	}
	_, _, err := CutAnswer(bad)
	require.ErrorIs(t, err, ErrBadAnswer)
}

type fieldList []string

func (l *fieldList) AddField(name, value []byte) error {
	*l = append(*l, string(name)+": "+string(value))
	return nil
}

// FuzzCutAnswer reads what a process may print instead of an answer, as it grows.
func FuzzCutAnswer(f *testing.F) {
	f.Add(testFrame(protocol.Response, 0, "a\x00b", "body"))
	f.Add(testFrame(protocol.Error, 0, "type\x00E", ""))
	f.Add([]byte("printed by a library, in place of an answer"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, whole, err := CutAnswer(b)
		if whole > len(b) || err != nil && whole != 0 {
			t.Fatal(whole, err)
		}
		for n := range min(len(b), 64) {
			if _, size, e := CutAnswer(b[:n]); size != 0 && size != whole || e != nil && err == nil {
				t.Fatal(n, size, whole, e, err)
			}
		}
	})
}
