package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdleLimitIsLearnedAndForgotten(t *testing.T) {
	var l idleLimit
	require.False(t, l.tooOld(1e12, 0), "nothing is known")
	l.closed(1000, 5)
	require.False(t, l.tooOld(750, 5))
	require.True(t, l.tooOld(751, 5))
	l.closed(2000, 6)
	require.True(t, l.tooOld(751, 6), "the shortest counts")
	l.closed(400, 7)
	require.True(t, l.tooOld(301, 7))
	require.False(t, l.tooOld(1e12, 7+forgetIdle))
	require.False(t, l.tooOld(1e12, 8), "it is forgotten")
}
