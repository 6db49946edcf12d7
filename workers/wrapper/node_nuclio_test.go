package wrapper_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// Nuclio contract §9 N7: what is thrown is told to the client in the place of the processor, and else to the log alone.
func TestNuclio9NodeErrors(t *testing.T) {
	t.Parallel()
	for _, result := range []string{"throw new Error('the reason')", "return Promise.reject(new Error('the reason'))", "context.callback([1, 'x'])", "throw undefined"} {
		for _, env := range [][]string{nil, inProcessor} {
			w := start(t, node, "exports.handler = (context, event) => { if (event.path === '/') return context.callback('good'); "+result+"; };", options{contract: wrapper.Nuclio, env: env})
			for id := range uint32(2) {
				w.send(path(2*id+1, "/bad"))
				a := w.read()
				for a.kind == tLog {
					a = w.read()
				}
				require.Equal(t, uint16(500), a.code)
				if env == nil {
					require.Equal(t, byte(tError), a.kind)
				} else {
					require.Equal(t, byte(tResponse), a.kind)
					require.Contains(t, string(a.body), "Error in handler: ")
				}
				require.Equal(t, "good", string(w.ask(get(2*id+2)).body))
			}
		}
	}
}
