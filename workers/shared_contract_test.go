package workers_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// What each answers is its own path, when as many have come as run at once.
const (
	togetherNuclioPython = `
import asyncio
here = 0
async def handler(context, event):
    global here
    here += 1
    context.logger.info_with('came', path=event.path)
    while here < 10:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.005)
    context.logger.info('goes ' + event.path)
    return event.path
`
	togetherNode = `
let here = 0;
const together = async () => { for (here++; here < 10;) await new Promise((go) => setTimeout(go, 1)); };
`
	togetherNuclioNode = togetherNode + `
exports.handler = async (context, event) => {
  context.logger.infoWith('came', { path: event.path });
  await together();
  context.logger.info('goes ' + event.path);
  context.callback(event.path);
};
`
	togetherOpenFaaSNode = togetherNode + `
module.exports = async (event, context) => { await together(); return context.status(200).succeed(event.path); };
`
	togetherKubelessNode = togetherNode + `
exports.handler = async (event, context) => { await together(); return event.extensions.request.path; };
`
)

// Handlers of other platforms run several requests on one worker, too, where they are async: each gets its own answer, and the
// lines of its own log.
func TestContractsOfAsyncHandlersRunSeveralRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contract, file, source string }{
		{wrapper.Nuclio, "handler.py", togetherNuclioPython},
		{wrapper.Nuclio, "handler.js", togetherNuclioNode},
		{wrapper.OpenFaaSHTTP, "handler.js", togetherOpenFaaSNode},
		{wrapper.Kubeless, "handler.js", togetherKubelessNode},
	} {
		t.Run(c.contract+" "+c.file, func(t *testing.T) {
			t.Parallel()
			cfg := function(t, c.file, c.source)
			if err := cfg.Validate(); err != nil {
				t.Skip("no interpreter: ", err)
			}
			cfg.Contract, cfg.Concurrency = c.contract, 10
			p := running(t, cfg)
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					path := fmt.Sprintf("/path-%d", i)
					x := newExchange(path)
					x.id = "id" + path
					x.addRequestField("X-Nuclio-Log-Level", "debug")
					if err := p.Do(x); err != nil || x.text() != path {
						t.Errorf("%v %q, want %q", err, x.text(), path)
					}
					at := slices.IndexFunc(x.fields, func(f string) bool { return strings.HasPrefix(strings.ToLower(f), "x-nuclio-logs") })
					if c.contract == wrapper.Nuclio && (at < 0 || strings.Count(x.fields[at], path+`"`) != 2 || strings.Count(x.fields[at], "/path") != 2) {
						t.Errorf("%s: lines %v", path, x.fields)
					}
				})
			}
			all.Wait()
			for _, r := range p.logs.records("function log") {
				if line, ok := r["line"].(string); ok && strings.HasPrefix(line, "goes ") {
					require.Equal(t, "id"+strings.TrimPrefix(line, "goes "), r["request_id"])
				}
			}
			require.EqualValues(t, 1, p.Stats().Starts)
		})
	}
}

// A handler whose answer is what the process prints has it to itself.
func TestAHandlerThatPrintsItsAnswerRunsAlone(t *testing.T) {
	t.Parallel()
	cfg := function(t, "handler.js", "module.exports = (text, done) => { setTimeout(() => done(undefined, text), 5); };")
	if err := cfg.Validate(); err != nil {
		t.Skip("no interpreter: ", err)
	}
	cfg.Contract, cfg.Concurrency = wrapper.OpenFaaSClassic, 10
	p := running(t, cfg)
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			text := fmt.Sprint("text ", i)
			x := post("/", []byte(text))
			if err := p.Do(x); err != nil || strings.TrimSpace(x.text()) != text {
				t.Errorf("%v %q", err, x.text())
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, p.logs.count("function runs one request at once: workers-concurrency is for async handlers"))
}
