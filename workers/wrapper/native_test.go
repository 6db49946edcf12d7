package wrapper_test

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// native is a language whose handlers run one request after the other; all of them pass the same tests of the native
// contract (docs/handlers.md) and of the protocol (docs/worker-protocol.md). routes is a handler that does by path what
// the tests name; the other fields are what differs between languages.
type native struct {
	language
	routes     string
	text       string                       // what /stream/file sends
	runtime    string                       // pattern of the runtime's version in HELLO
	handler    func(body string) string     // a handler with that body
	choose     func(bodies []string) string // a handler that does what the query says: the number of a body
	sourceFile string                       // file of such a handler, if it is not the language's
	hello      string                       // the plainest handler
	bang       string                       // body of a handler that answers with the request's body and a "!"
	init       string                       // a handler with a function that answers with how often init ran
	goes       string                       // that function
	unusable   [][2]string                  // body of a handler that returns no answer, and what the error says
	raised     [3]string                    // of /raise: type, message, a piece of the trace
	broken     [][3]string                  // handler, type, and what INIT_ERROR says
	// exits is what /exit becomes: an error after which the worker goes on, or leaves with BYE.
	exits    string
	exitEnds bool
	inherits int // of descriptors 4 to 6, what a program gets that the handler starts
	settings int // how many of the settings stay in the environment
}

// natives are the languages under test, those alone whose interpreter is here.
func natives(t testing.TB) []native { return []native{ruby, php, perl, java(t)} }

// handlerIn is the language with the file that handler is for.
func (l native) handlerIn() language {
	in := l.language
	in.file = cmp.Or(l.sourceFile, in.file)
	return in
}

func eachNative(t *testing.T, test func(t *testing.T, l native)) {
	t.Helper()
	t.Parallel()
	for _, l := range natives(t) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			test(t, l)
		})
	}
}

func path(id uint32, path string) frame { return request(id, "GET", path, "", nil) }

func TestNativeAnswersWithWhatTheHandlerReturns(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		const text, binary, json = "content-type\x00text/plain; charset=utf-8", "content-type\x00application/octet-stream", "content-type\x00application/json"
		w := start(t, l.language, l.routes, options{})
		for i, c := range []struct {
			path string
			code uint16
			meta string
			body string
		}{
			{"/text", 200, text, "grüß"},
			{"/empty", 200, text, ""},
			{"/bytes", 200, binary, "\x00\xff"},
			{"/nothing", 204, "", ""},
			{"/object", 200, json, `{"a":[1,"ü",null]}`},
			{"/list", 200, json, `[1,2.5,true]`},
			{"/answer", 201, "content-type\x00text/csv\x00x-a\x001\x00x-a\x00\xfc", "a,b"},
			{"/status", 404, "", ""},
			{"/implied", 202, text + "\x00x-n\x007", "later"},
		} {
			a := w.ask(path(uint32(i+1), c.path))
			require.Equalf(t, byte(tResponse), a.kind, "%s: %s %s", c.path, a.meta, a.body)
			require.Equal(t, c.code, a.code, c.path)
			require.Zero(t, a.flags, c.path)
			require.Equal(t, c.meta, a.meta, c.path)
			if strings.Contains(c.meta, "json") {
				require.JSONEq(t, c.body, string(a.body), c.path)
				continue
			}
			require.Equal(t, c.body, string(a.body), c.path)
		}
	})
}

func TestNativeAnswersUnusableResultsWithAnErrorThatNamesTheType(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		require.GreaterOrEqual(t, len(l.unusable), 9)
		var bodies []string
		for _, c := range l.unusable {
			bodies = append(bodies, c[0])
		}
		w := start(t, l.handlerIn(), l.choose(bodies), options{})
		for i, c := range l.unusable {
			for id := range uint32(2) { // the worker lives on
				a := w.ask(request(id+1, "GET", "/", fmt.Sprint(i), nil))
				require.Equalf(t, byte(tError), a.kind, "%s: %s %q", c[0], a.meta, a.body)
				require.Equal(t, uint16(500), a.code)
				require.Equal(t, "UnusableResult", a.pair("type"), c[0])
				require.Contains(t, a.pair("message"), c[1], c[0])
			}
		}
	})
}

func TestNativeHandlerExceptionIsAnErrorWithItsTrace(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		for id := range uint32(2) {
			a := w.ask(path(id+1, "/raise"))
			require.Equal(t, byte(tError), a.kind)
			require.Equal(t, uint16(500), a.code)
			require.Equal(t, l.raised[0], a.pair("type"))
			require.Equal(t, l.raised[1], a.pair("message"))
			require.Contains(t, string(a.body), l.raised[2])
			require.NotContains(t, string(a.body), "/proc/self/fd")
			require.NotContains(t, string(a.body), "memfd:")
			require.LessOrEqual(t, len(a.body), inline)
		}
		require.Equal(t, "grüß", string(w.ask(path(3, "/text")).body))
		require.Empty(t, w.stderr.String(), "the parent logs it")
	})
}

func TestNativeExitInAHandlerIsAnError(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		a := w.ask(path(1, "/exit"))
		require.Equal(t, byte(tError), a.kind)
		require.Contains(t, a.pair("message"), l.exits)
		if l.exitEnds {
			require.Equal(t, byte(tBye), w.read().kind)
			w.ended()
			return
		}
		require.Equal(t, "grüß", string(w.ask(path(2, "/text")).body))
	})
}

func TestNativeStreamsItemsAsTheyCome(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		a := w.ask(path(1, "/stream"))
		require.Equal(t, byte(fMore), a.flags)
		require.Equal(t, "content-type\x00text/plain; charset=utf-8", a.meta)
		for _, want := range []frame{
			{kind: tData, flags: fMore, id: 1, body: []byte("ä"), size: 2},
			{kind: tData, flags: fMore, id: 1, body: []byte("b"), size: 1},
			{kind: tData, id: 1, body: []byte{}},
		} {
			require.Equal(t, want, w.read())
		}
		require.Equal(t, frame{kind: tResponse, code: 200, id: 2, body: []byte{}}, w.ask(path(2, "/stream/none")))
		a = w.ask(path(3, "/stream/early"))
		require.Equal(t, byte(tError), a.kind, "an error before the first item is a 500")
		require.Equal(t, "early", a.pair("message"))
		for id, late := range map[uint32]string{4: "/stream/late", 5: "/stream/wrong"} {
			require.Equal(t, byte(fMore), w.ask(path(id, late)).flags)
			require.Equal(t, "a", string(w.read().body))
			require.Equal(t, byte(tError), w.read().kind, "an error after the first item cuts the answer")
		}
		a = w.ask(path(6, "/stream/file"))
		require.Equal(t, byte(fMore), a.flags)
		require.Equal(t, l.text, string(w.rest(a)), "the text of a file")
		require.Equal(t, "grüß", string(w.ask(path(7, "/text")).body))
	})
}

// rest returns the body of a streamed answer whose head was read.
func (w *worker) rest(head frame) []byte {
	w.t.Helper()
	all, left := head.body, credit
	for f := head; f.flags&fMore != 0; {
		f = w.read()
		require.Equalf(w.t, byte(tData), f.kind, "%s", f.meta)
		all = append(all, f.body...)
		if left -= len(f.body); left < credit/2 {
			w.grant(head.id, credit-left)
			left = credit
		}
	}
	return all
}

func TestNativeStopsStreamingWithoutCredit(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		require.Equal(t, byte(tResponse), w.ask(path(1, "/stream/large")).kind)
		total := 0
		for total < credit {
			total += len(w.read().body)
		}
		require.Equal(t, credit, total)
		w.send(frame{kind: tPing}) // an answer shows that the worker waits and lives
		pong := w.read()
		require.Equal(t, byte(tPong), pong.kind)
		require.Equal(t, "1", pong.pair("in_flight"))
		w.grant(1, 10)
		require.Len(t, w.read().body, 10)
		w.grant(1, 5_000_000)
		for f := w.read(); f.flags&fMore != 0; f = w.read() {
			total += len(f.body)
		}
		require.Equal(t, 5_000_000, total+10)
		require.Equal(t, "grüß", string(w.ask(path(2, "/text")).body))
	})
}

func TestNativeStopsACancelledStream(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		w.ask(path(1, "/stream/endless"))
		w.send(frame{kind: tCancel, code: 1, id: 1})
		f := w.read()
		for ; f.kind == tData; f = w.read() {
			require.Equal(t, byte(fMore), f.flags)
		}
		require.Equal(t, byte(tError), f.kind)
		require.Equal(t, "cancelled", f.pair("type"))
		require.Equal(t, "grüß", string(w.ask(path(2, "/text")).body))
	})
}

func TestNativeLeavesWhenTheParentDiesInTheMiddleOfAStream(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		w.ask(path(1, "/stream/endless"))
		w.in.Close()
		for {
			if _, err := w.next(); err != nil {
				break
			}
		}
		require.Zero(t, w.ended())
	})
}

func TestNativeDropsARequestCancelledBeforeItsBodyIsThere(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		f := request(1, "POST", "/echo", "", []byte("ab"))
		f.flags = fMore
		w.send(f, frame{kind: tData, flags: fMore, id: 1, body: []byte("cd")}, frame{kind: tCancel, code: 1, id: 1}, path(2, "/text"))
		a := w.read()
		require.Equal(t, byte(tError), a.kind)
		require.Equal(t, "cancelled", a.pair("type"))
		require.Equal(t, "grüß", string(w.read().body))
	})
}

func TestNativeRequestHoldsEverything(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		f := request(9, "POST", "/request", "x=1&x=2&y=&z=%C3%BC+1", []byte(`"gr\u00fc\u00df"`), "content-type", "application/json; charset=utf-8",
			"accept", "a", "accept", "b", "cookie", "c=1", "cookie", "d=2", "x-request-id", "id-1", "x-latin", "\xfc")
		f.meta = strings.Replace(f.meta, "\x00192.0.2.7\x00\x00", "\x00192.0.2.7\x005000\x00", 1)
		a := w.ask(f)
		require.JSONEq(t, `{"method":"POST","path":"/request","query":"x=1&x=2&y=&z=%C3%BC+1","args":{"x":["1","2"],"y":[""],"z":["ü 1"]},
			"scheme":"http","host":"example.com:8080","peer":"192.0.2.7","body":"\"gr\\u00fc\\u00df\"","json":"grüß","id":"id-1",
			"type":["application/json; charset=utf-8","application/json; charset=utf-8"],"accept":"a, b","cookie":"c=1; d=2",
			"all":["a","b"],"none":null,"latin":"ü","remaining":true,"deadline":true}`, string(a.body), string(a.body))
		plain := w.ask(path(3, "/request/plain"))
		require.JSONEq(t, `["3",null,null,""]`, string(plain.body))
		latin := request(4, "POST", "/request/text", "", []byte("gr\xfc\xdf"), "content-type", `text/plain; charset="ISO-8859-1"`)
		require.Equal(t, "grüß", string(w.ask(latin).body))
		require.Equal(t, byte(tError), w.ask(request(5, "POST", "/request/json", "", []byte("{"))).kind)
	})
}

func TestNativeReadsBodiesOfEverySize(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		const window = 1 << 20
		for _, lane := range []int{0, window} {
			w := start(t, l.handlerIn(), l.handler(l.bang), options{lane: lane})
			for i, n := range []int{0, 1, inline - 1, inline, inline + 1, piece, window - 1, window, window + 1, 3 * window} {
				got := w.echo(uint32(i+1), n)
				require.Lenf(t, got, n+1, "lane %d", lane)
				require.True(t, bytes.Equal(got[:n], pattern(n)))
			}
		}
	})
}

func TestNativeReportsWhyAHandlerCannotBeUsed(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		require.GreaterOrEqual(t, len(l.broken), 6)
		for _, c := range l.broken {
			w := launch(t, l.language, c[0], options{})
			require.Equal(t, byte(tHello), w.read().kind)
			f := w.read()
			require.Equalf(t, byte(tInitError), f.kind, c[0])
			require.Equal(t, c[1], f.pair("type"), c[0])
			require.Contains(t, f.pair("message"), c[2], c[0])
			require.NotContains(t, string(f.body), "/proc/self/fd")
			require.Equal(t, 1, w.ended())
			w.kill()
		}
	})
}

func TestNativeSaysHelloAndReady(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := launch(t, l.language, l.init, options{function: l.goes, concurrency: 8})
		h := w.read()
		require.Equal(t, byte(tHello), h.kind)
		require.Equal(t, uint16(1), h.code)
		require.Equal(t, l.name, h.pair("language"))
		require.Regexp(t, l.runtime, h.pair("runtime"))
		require.Equal(t, fmt.Sprint(w.cmd.Process.Pid), h.pair("pid"))
		require.Equal(t, "lane,stream", h.pair("features"))
		r := w.read()
		require.Equalf(t, byte(tReady), r.kind, "%s %s", r.meta, r.body)
		require.Equal(t, uint16(1), r.code, "one request at once, whatever is asked for")
		require.Equal(t, l.file+":"+l.goes, r.pair("handler"))
		require.Regexp(t, `^\d+$`, r.pair("init_ms"))
		require.Equal(t, "init ran 1 times", string(w.ask(get(1)).body))
	})
}

func TestNativePrintsAppearAtOnce(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		require.Equal(t, "printed", string(w.ask(path(1, "/print")).body))
		require.Eventually(t, func() bool { // the copy out of the pipe is not synchronous with the answer
			return w.stdout.String() == "out line\n" && w.stderr.String() == "err line\n"
		}, patience, time.Millisecond)
	})
}

func TestNativeLeavesWhenAsked(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		for _, kind := range []byte{tDrain, tExit, 0} {
			w := start(t, l.language, l.routes, options{})
			w.send(frame{kind: tPing})
			pong := w.read()
			require.Equal(t, byte(tPong), pong.kind)
			require.Regexp(t, `^\d+$`, pong.pair("rss"))
			require.Equal(t, "0", pong.pair("in_flight"))
			w.ask(path(1, "/text"))
			if kind == 0 {
				w.in.Close()
			} else {
				w.send(frame{kind: 0x99, meta: "from the future", body: []byte("skipped")}, frame{kind: kind})
			}
			if kind == tDrain {
				require.Equal(t, byte(tBye), w.read().kind)
			}
			require.Zero(t, w.ended())
			require.Equal(t, "bye\n", w.stdout.String(), "what the function registered for its end is run")
			require.Empty(t, w.stderr.String())
		}
	})
}

func TestNativeFinishesWhatIsInFlightBeforeItLeaves(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		w.send(path(1, "/slow"), frame{kind: tDrain})
		require.Len(t, w.download(1), 300_001)
		require.Equal(t, byte(tBye), w.read().kind)
		require.Zero(t, w.ended())
	})
}

func TestNativeDiesOfGarbage(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		more := request(1, "POST", "/echo", "", nil)
		more.flags = fMore
		for _, c := range []struct {
			name string
			in   []byte
			says string
		}{
			{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "frame too long"},
			{"unknown type", frame{kind: 0x42}.bytes(), "unknown frame type 0x42"},
			{"unknown type in a body", append(more.bytes(), frame{kind: 0x42, id: 1}.bytes()...), "frame type 0x42"},
			{"half a header", []byte("1234"), "ended inside a frame"},
			{"half a frame", get(1).bytes()[:20], "ended inside a frame"},
			{"lane body without a lane", frame{kind: tRequest, flags: fLane, meta: get(1).meta, size: 100}.bytes(), "body of 100 bytes in a lane of 0"},
		} {
			w := start(t, l.language, l.hello, options{})
			_, err := w.in.Write(c.in)
			require.NoError(t, err)
			w.in.Close()
			require.Equal(t, 1, w.ended(), c.name)
			require.Contains(t, w.stderr.String(), c.says)
			w.kill()
		}
	})
}

func TestNativeTakesFramesInAnyPortion(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{})
		requireAnyPortion(t, w, request(1, "GET", "/portion", "a", nil), request(2, "GET", "/portion", "b", []byte("0")), request(3, "POST", "/portion", "c", []byte("1")), "a", "b0", "c123")
	})
}

func TestNativeHidesItsSettingsAndPipesFromTheHandler(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		w := start(t, l.language, l.routes, options{lane: 1 << 20})
		a := w.ask(path(1, "/hidden"))
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, fmt.Sprintf("own: %d, of a program: %d, descriptors: %d", l.settings, l.settings, l.inherits), strings.TrimSpace(string(a.body)))
		w.send(frame{kind: tDrain})
		require.Equal(t, byte(tBye), w.read().kind)
	})
}

func TestNativeNeedsItsSettings(t *testing.T) {
	eachNative(t, func(t *testing.T, l native) {
		for _, env := range []string{"FNPOD_WORKER_PROTOCOL=2-3", "FNPOD_WORKER_FDS=x", "FNPOD_WORKER_LANE=5"} {
			w := launch(t, l.language, l.hello, options{env: []string{env}})
			require.Equal(t, 1, w.ended())
			require.Contains(t, w.stderr.String(), "fnpod: ")
		}
	})
}
