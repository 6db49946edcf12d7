package wrapper_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const javaNuclio = `
import io.nuclio.*;
import java.util.*;

public class Main implements EventHandler {
    private int calls;

    private static String text(byte[] b) {
        return b == null ? "null" : new String(b);
    }

    public Response handleEvent(Context context, Event event) {
        calls++;
        Response r = new Response();
        Logger log = context.getLogger();
        switch (event.getPath()) {
            case "/plain": return r;
            case "/text": return r.setBody("grüß");
            case "/bytes": return r.setBody(new byte[] {0, -1});
            case "/made": return r.setBody("r").setStatusCode(418).setContentType("text/css").setHeaders(Map.of("X-A", "b", "X-N", 5, "x-c", "d\r\ne", "Content-Type", "x/y"));
            case "/untyped": return r.setBody("a").setContentType("");
            case "/field": return r.setBody("a").setContentType(null).setHeaders(Map.of("content-type", "x/y"));
            case "/zero": return r.setBody("a").setStatusCode(0);
            case "/null": return null;
            case "/status": return r.setStatusCode(700);
            case "/raise": throw new IllegalStateException("the reason");
            case "/error": throw new StackOverflowError();
            case "/log":
                log.debug("%d of %s", 1, "ü");
                log.infoWith("100%", "a", 1, "b", List.of("c\0"), "d", "e");
                log.warn("hot");
                log.errorWith("odd", "a");
                return r;
            case "/long": log.info("%s", "x".repeat(3_000_000)); return r;
        }
        List<String> all = new ArrayList<>(List.of(event.getContentType(), text(event.getBody()), event.getBodyObject() == null ? "" : event.getBodyObject().getClass().getSimpleName(), event.getMethod(), event.getPath(), event.getURL(),
            "" + event.getTriggerInfo().getClassName(), event.getTriggerInfo().getKindName(), event.getType(), event.getTypeVersion(), event.getVersion(),
            event.getShardID() + " " + event.getTotalNumShards(), new TreeMap<>(event.getHeaders()).toString(), new TreeMap<>(event.getFields()).toString()));
        all.addAll(List.of("" + event.getHeader("X-N"), "" + event.getHeaderString("X-N"), text(event.getHeaderBytes("X-N")), "" + event.getHeaderLong("X-N"),
            "" + event.getHeader("x-n"), "" + event.getHeaderBytes("x-n"), "" + event.getHeaderLong("x-n"),
            "" + event.getField("a"), "" + event.getFieldString("none"), "" + event.getFieldLong("a"), "" + event.getFieldBytes("none"),
            "" + event.getID().length(), "" + (event.getTimestamp().getTime() % 1000), "" + event.getTimestamp().getTime() / 1000, "" + calls));
        StringBuilder json = new StringBuilder();
        for (String s : all) {
            json.append(json.length() > 0 ? "," : "[").append('"').append(s.replace("\\", "\\\\").replace("\"", "\\\"")).append('"');
        }
        return r.setBody(json.append("]").toString());
    }
}
`

var javaNuclioClasses = sync.OnceValues(func() (map[string][]byte, error) {
	return javaClasses(map[string]string{
		"Main.java": javaNuclio,
		"None.java": "public class None { }",
		"Bad.java":  "public class Bad implements io.nuclio.EventHandler { public Bad() { throw new IllegalStateException(\"no disk\"); } public io.nuclio.Response handleEvent(io.nuclio.Context c, io.nuclio.Event e) { return null; } }",
	})
})

func javaNuclioJar(t *testing.T) string {
	t.Helper()
	files, err := javaNuclioClasses()
	require.NoError(t, err)
	return javaJar(t, files)
}

// Nuclio contract §11: what a handler returns, alone and in the place of the processor.
func TestNuclio11JavaReturns(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{nil, inProcessor} {
		w := start(t, javaLanguage, javaNuclioJar(t), options{contract: wrapper.Nuclio, function: "Main", env: env})
		for i, c := range []struct {
			path        string
			status      uint16
			contentType string
			body        string
		}{
			{"/plain", 200, "text/plain", ""},
			{"/text", 200, "text/plain", "grüß"},
			{"/bytes", 200, "text/plain", "\x00\xff"},
			{"/made", 418, "text/css", "r"},
			{"/untyped", 200, textType, "a"},
			{"/field", 200, "x/y", "a"},
			{"/zero", 200, "text/plain", "a"},
		} {
			a := w.ask(path(uint32(i+1), c.path))
			require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
			require.Equal(t, c.status, a.code, c.path)
			require.Equal(t, c.contentType, a.pair("content-type"), c.path)
			require.Equal(t, c.body, string(a.body), c.path)
			if c.status == 418 {
				require.Equal(t, "b", a.pair("x-a"))
				require.Equal(t, "d  e", a.pair("x-c"), "R3")
				require.Empty(t, a.pair("x-n"), "R2: what is no string is dropped")
			}
		}
		for i, p := range []string{"/null", "/status", "/raise", "/error"} {
			a := w.ask(path(uint32(i+20), p))
			require.Equal(t, uint16(500), a.code)
			if env == nil || p == "/error" {
				require.Equal(t, byte(tError), a.kind, p)
				require.NotContains(t, string(a.body), "fnpod")
				continue
			}
			require.Equal(t, byte(tResponse), a.kind, p)
			require.Equal(t, "text/plain", a.pair("content-type"))
			require.Regexp(t, `^Error in handler: java\.lang\.\w+Exception: `, string(a.body))
			require.Contains(t, string(a.body), "\tat ")
		}
	}
}

// Nuclio contract §6, §11: the getters of an event.
func TestNuclio11JavaEvent(t *testing.T) {
	t.Parallel()
	w := start(t, javaLanguage, javaNuclioJar(t), options{contract: wrapper.Nuclio, function: "Main"})
	seen := func(f frame) (all []string) {
		t.Helper()
		a := w.ask(f)
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.NoErrorf(t, json.Unmarshal(a.body, &all), "%s", a.body)
		return all
	}
	all := seen(request(1, "FOO", "/a%20b/../c//d/%C3%BC", "a=1&a=2&c&%C3%BC=+", []byte("bödy"),
		"host", "h", "content-type", "x/y", "x-foo-bar", "1", "x-foo-bar", "\xc3\xbc", "cookie", "a=b; c=d", "x-n", "12"))
	require.Regexp(t, `^\d{10,}$`, all[27])
	require.Equal(t, []string{
		"x/y", "bödy", "byte[]", "FOO", "/c/d/ü", "", "null", "http", "", "", "", "-1 0",
		"{Content-Type=x/y, Cookie=a=b; c=d, Host=h, X-Foo-Bar=ü, X-N=12}", "{a=2, c=, ü= }",
		"12", "12", "12", "12", "null", "null", "0", "2", "null", "2", "null", "36", "0", all[27], "1",
	}, all)

	cloud := func(id uint32, body string) frame {
		return request(id, "POST", "/", "", []byte(body), "content-type", "application/cloudevents+json", "x-n", "1")
	}
	for id, body := range []string{"{", "[]", `{"eventTime": "today"}`} {
		a := w.ask(cloud(uint32(id+3), body))
		require.Equal(t, uint16(500), a.code)
		require.Equal(t, "Failed to wrap structured cloud event", string(a.body))
	}
	all = seen(cloud(9, `{"cloudEventsVersion": "0.1", "eventID": "i", "source": "s", "eventType": "t", "eventTypeVersion": "v", "eventTime": "2020-01-02T03:04:05.5+01:00",
		"contentType": "z/z", "data": "text", "extensions": {"X-N": "7"}}`))
	require.Equal(t, []string{"z/z", "text", "byte[]"}, all[:3])
	require.Equal(t, []string{"s", "t", "v", "0.1"}, all[7:11])
	require.Equal(t, []string{"1", "0", "1577930645"}, all[25:28])
	all = seen(request(10, "POST", "/", "", []byte("b"), "ce-cloudeventsversion", "0.1", "ce-eventid", "id", "ce-source", "s", "ce-eventtime", "2020-01-02T03:04:05Z", "x-n", "1"))
	require.Equal(t, []string{"b", "s", "0.1", "2", "1577934245"}, []string{all[1], all[7], all[10], all[25], all[27]})
}

// Nuclio contract §11, §19: each call of the logger is one record, which the client may ask for.
func TestNuclio11JavaLogger(t *testing.T) {
	t.Parallel()
	const name = "logger\x00processor.http.w3.java.logger"
	w := start(t, javaLanguage, javaNuclioJar(t), options{contract: wrapper.Nuclio, function: "Main", env: inProcessor})
	w.send(path(7, "/log"))
	require.Equal(t, frame{kind: tLog, code: 0, id: 7, meta: name, body: []byte("1 of ü"), size: 7}, w.read())
	require.Equal(t, frame{kind: tLog, code: 1, id: 7, meta: name + "\x00a\x001\x00b\x00[\"c\\u0000\"]\x00d\x00\"e\"", body: []byte("100%"), size: 4}, w.read())
	require.Equal(t, frame{kind: tLog, code: 2, id: 7, meta: name, body: []byte("hot"), size: 3}, w.read())
	require.Equal(t, frame{kind: tLog, code: 3, id: 7, meta: name, body: []byte("odd"), size: 3}, w.read())
	require.Equal(t, byte(tResponse), w.read().kind)
	w.send(path(8, "/long"))
	require.Len(t, w.read().body, 64<<10, "B15: a long line is cut")
	require.Equal(t, byte(tResponse), w.read().kind)

	w.send(request(9, "GET", "/log", "", nil, "x-nuclio-log-level", "Info"))
	for range 4 {
		require.Equal(t, byte(tLog), w.read().kind)
	}
	var lines []map[string]any
	require.NoError(t, json.Unmarshal([]byte(w.read().pair("x-nuclio-logs")), &lines))
	require.Len(t, lines, 3)
	require.Equal(t, []any{"info", "100%", 1.0, "e"}, []any{lines[0]["level"], lines[0]["message"], lines[0]["a"], lines[0]["d"]})
}

// Nuclio contract §11: a class is named, by a file of source too; what is no handler ends the start.
func TestNuclio11JavaHandlersByName(t *testing.T) {
	t.Parallel()
	l := javaLanguage
	l.file = "Main.java"
	w := start(t, l, javaNuclio, options{contract: wrapper.Nuclio})
	require.Equal(t, "grüß", string(w.ask(path(1, "/text")).body))

	for function, want := range map[string]string{
		"": "say FILE:Class", "None": "None is no io.nuclio.EventHandler", "Missing": "java.lang.ClassNotFoundException: Missing", "Bad": "java.lang.IllegalStateException: no disk\n\tat Bad.",
	} {
		w := launch(t, javaLanguage, javaNuclioJar(t), options{contract: wrapper.Nuclio, function: function})
		require.Equal(t, byte(tHello), w.read().kind)
		f := w.read()
		require.Equal(t, byte(tInitError), f.kind)
		require.Contains(t, string(f.body), want)
		require.NotContains(t, string(f.body), "at fnpod.")
		require.Equal(t, 1, w.ended())
	}
}
