package e2e_test

import (
	"cmp"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// original is another queue-proxy, which the tests of Knative run instead of fnpod to see whether they are right about it:
//
//	QUEUE_PROXY=/path/to/queue go test ./e2e -run TestKnative -parallel 1
//
// Its ports 8022, 9090 and 9091 are fixed.
var original = os.Getenv("QUEUE_PROXY")

// queueProxyBinary is what the tests of Knative start.
func queueProxyBinary() string { return cmp.Or(original, binary) }

// otherwise skips a test with the original, which does not do this.
func otherwise(t *testing.T, how string) {
	t.Helper()
	if original != "" {
		t.Skip("the original does otherwise:", how)
	}
}

// originally is an address of fnpod, or that of the original.
func originally(address, fixed string) string {
	if original != "" {
		return "127.0.0.1:" + fixed
	}
	return address
}

// begin starts the queue-proxy. There is room for one original at a time, which has no reason to drain.
func (p *queuePod) begin() {
	p.t.Helper()
	if original == "" {
		p.pod.begin()
		return
	}
	if last != nil {
		last.kill()
	}
	last = p
	p.pod.begin()
	p.t.Cleanup(p.kill)
}

// last is the original that was started last.
var last *queuePod

func (p *queuePod) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// exit waits for the end, which the original puts off until nobody has come for 30 seconds.
func (p *queuePod) exit() int {
	p.t.Helper()
	if original == "" {
		return p.pod.exit()
	}
	select {
	case <-p.ended:
	case <-time.After(90 * time.Second):
		require.Fail(p.t, "the queue-proxy does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}
