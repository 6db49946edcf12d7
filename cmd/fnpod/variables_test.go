package main

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// called is an invocation without arguments.
func called(environ ...string) *invocation {
	return newInvocation("fnpod", environ, nil, nil)
}

func TestOurVariablesBeatThoseOfPlatforms(t *testing.T) {
	r, err := called("fprocess=/bin/cat", "exec_timeout=5s", "max_inflight=7", "FNPOD_QUEUE_DISCIPLINE=adaptive", "FNPOD_QUEUE_DEPTH=3", "FNPOD_SERVER_TIMING=true").command(nil)
	require.NoError(t, err)
	of := r.(*openFaaSCmd).front
	require.Equal(t, queueSettings{Limit: 7, Depth: 3, Discipline: queue.Adaptive}, of.Queue)
	require.True(t, of.Proxy.Timing)
	require.Equal(t, ":8080", of.Listen.String(), "what nobody says stays")

	queueProxy := []string{
		"CONTAINER_CONCURRENCY=2", "QUEUE_SERVING_PORT=8012", "QUEUE_SERVING_TLS_PORT=8112", "USER_PORT=8080", "REVISION_TIMEOUT_SECONDS=9",
		"SERVING_NAMESPACE=", "SERVING_CONFIGURATION=", "SERVING_REVISION=", "SERVING_POD=", "SERVING_POD_IP=", "SERVING_LOGGING_CONFIG=", "SERVING_LOGGING_LEVEL=",
	}
	r, err = called(queueProxy...).command(nil)
	require.NoError(t, err)
	kn := &r.(*knativeCmd).proxy.Front
	require.Equal(t, queueSettings{Limit: 2, Depth: 20, Discipline: queue.FIFO}, kn.Queue)
	require.Equal(t, 9*time.Second, kn.Proxy.Timeout)
	require.Empty(t, kn.Admin.network)
	without := *kn

	r, err = called(append(queueProxy, "FNPOD_QUEUE_DISCIPLINE=adaptive", "FNPOD_CONNECTIONS=100")...).command(nil)
	require.NoError(t, err)
	kn = &r.(*knativeCmd).proxy.Front
	require.Equal(t, queue.Adaptive, kn.Queue.Discipline)
	require.Equal(t, 100, kn.Proxy.Connections)
	kn.Queue.Discipline, kn.Proxy.Connections = without.Queue.Discipline, without.Proxy.Connections
	require.Equal(t, without, *kn, "nothing else changes on the way through the parser")

	_, err = called(append(queueProxy, "FNPOD_QUEUE_DISCIPLINE=lifo")...).command(nil)
	require.EqualError(t, err, `queue-discipline "lifo" (variable FNPOD_QUEUE_DISCIPLINE): allowed: fifo, adaptive`)
}

func TestVariablesOfPlatformsThatAreDocumentedAreKnown(t *testing.T) {
	text, err := os.ReadFile("../../docs/knative.md")
	require.NoError(t, err)
	names := regexp.MustCompile(`FNPOD_KNATIVE_[A-Z_]+`).FindAllString(string(text), -1)
	require.Greater(t, len(names), 3)
	for _, name := range names {
		require.Contains(t, platformVariables, name)
	}
}
