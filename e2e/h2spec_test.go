package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// deviations are the cases of h2spec that we do not pass without TLS, by group and number, with the reason. With TLS there
// are none.
var deviations = map[string]string{
	"http2/3.5/2": "the port speaks HTTP/1.1, too: what is no preface is answered with 400",
}

// The protocol itself, judged by somebody else.
func TestHTTP2ConformsToItsSpecification(t *testing.T) {
	t.Parallel()
	function := begin(t, nil, "serve", "testdata/handler.py")
	function.waitReady()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			var flags []string
			known := deviations
			if secure {
				flags, _ = certificate(t)
				known = nil
			}
			p := start(t, "proxy", append(flags, "http://"+function.listen)...)
			host, port, err := net.SplitHostPort(p.listen)
			require.NoError(t, err)
			c := &config.Config{Host: host, Path: "/", Timeout: 4 * time.Second, MaxHeaderLen: 4000, TLS: secure, Insecure: true, Strict: true}
			c.Port, err = strconv.Atoi(port)
			require.NoError(t, err)
			for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
				conform(t, c, g, known)
			}
		})
	}
}

// conform runs a group and all groups below it.
func conform(t *testing.T, c *config.Config, g *spec.TestGroup, known map[string]string) {
	t.Helper()
	for i, test := range append(g.Tests, g.StrictTests...) {
		name := fmt.Sprintf("%s/%d", g.ID(), i+1)
		t.Run(name, func(t *testing.T) {
			conn, err := spec.Dial(c)
			require.NoError(t, err)
			defer conn.Close()
			err = test.Run(c, conn)
			if reason, ok := known[name]; ok {
				require.Error(t, err, "it passes now; we did not because %s", reason)
				return
			}
			if !errors.Is(err, spec.ErrSkipped) {
				require.NoError(t, err, "%s: %s", test.Desc, test.Requirement)
			}
		})
	}
	for _, below := range g.Groups {
		conform(t, c, below, known)
	}
}
