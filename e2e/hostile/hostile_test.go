package hostile_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/e2e/hostile"
)

func TestTableIsInOrder(t *testing.T) {
	names, classes := map[string]bool{}, map[hostile.Class]int{}
	for _, c := range hostile.Cases() {
		name := string(c.Class) + ": " + c.Name
		require.False(t, names[name], "%s: twice", name)
		names[name] = true
		classes[c.Class]++
		require.NotEmpty(t, c.Rules, name)
		require.NotEmpty(t, c.Send, name)
		require.NotEmpty(t, c.Status, name)
		require.Contains(t, hostile.Classes, c.Class)
		if c.Must == hostile.Serve {
			require.LessOrEqual(t, len(c.Reads), len(c.Status), name)
		}
	}
	require.Len(t, classes, len(hostile.Classes))
	require.GreaterOrEqual(t, len(names), 300)
}

func TestMutationsAreTheSameForASeed(t *testing.T) {
	first, again := hostile.Mutations(1, 50), hostile.Mutations(1, 50)
	require.Equal(t, first, again)
	require.NotEqual(t, first, hostile.Mutations(2, 50))
}

// A relay that looks at nothing must fail most cases: the judges see the difference.
func TestARelayThatChecksNothingFails(t *testing.T) {
	f, err := hostile.StartFunction(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	r := &hostile.Runner{Addr: relay(t, f.Addr()), Function: f, Patience: 20 * time.Millisecond}
	safe := map[hostile.Verdict]int{}
	exact := 0
	var cases []hostile.Case
	for _, c := range hostile.Cases() {
		if len(c.Bytes()) < 300 && c.Class != hostile.Slow && (c.Script == nil || !c.Script.Hangs) {
			cases = append(cases, c)
		}
	}
	for i := 0; i < len(cases); i += 4 {
		o, err := r.Run(t.Context(), cases[i])
		require.NoError(t, err)
		verdict, why := hostile.Safe(cases[i], o)
		require.Equal(t, verdict == hostile.Failed, why != nil && verdict != hostile.Chosen, cases[i].Name)
		safe[verdict]++
		if hostile.Exact(cases[i], o) == nil {
			exact++
		}
	}
	require.Greater(t, safe[hostile.Failed], 30, "%v", safe)
	require.Less(t, exact, len(cases)/8, "%v", safe)
}

// relay copies bytes both ways.
func relay(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				all.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].(*net.TCPConn).CloseWrite()
				})
			}
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		all.Wait()
	})
	return l.Addr().String()
}
