package wrapper_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// java returns the language with handlers in jars, which start several times faster than source.
func java(t testing.TB) native {
	t.Helper()
	jars, err := javaJars()
	require.NoError(t, err)
	return native{
		language: javaLanguage, routes: jars["Routes"], hello: jars["Hello"], init: jars["Init"], goes: "Init.go", text: "from a file",
		runtime: `^\d+`,
		handler: javaHandler,
		choose: func(bodies []string) string {
			var b strings.Builder
			for i, body := range bodies {
				fmt.Fprintf(&b, "case \"%d\": { %s }\n", i, body)
			}
			return javaHandler("switch (req.query()) {\n" + b.String() + "}\nreturn null;")
		},
		sourceFile: "Handler.java",
		bang:       "byte[] b = Arrays.copyOf(req.body(), req.body().length + 1); b[b.length - 1] = '!'; return b;",
		raised:     [3]string{"java.lang.IllegalStateException", "bad thing ü", "Routes.fails(Routes.java:"},
		exits:      "the process ends: System.exit or a signal",
		exitEnds:   true,
		settings:   5,
		unusable: [][2]string{
			{"return 7;", "handler returned an Integer; expected a String, byte[], null, Map"},
			{"return new Object();", "handler returned an Object"},
			{"return new int[0];", "handler returned an int[]"},
			{"return new Response(\"a\").status(99);", "handler returned status 99; expected 200 to 599"},
			{"return new Response(\"a\").status(600);", "handler returned status 600"},
			{"return List.of(Double.NaN);", "that is not JSON: NaN"},
			{"return Map.of(\"a\", new Object());", "that is not JSON: a java.lang.Object in it"},
			{"Object[] a = {0}; a[0] = a; return a;", "handler returned an Object[] that is not JSON: nested too deeply"},
			{"return new Response(\"a\").header(\"x\", null);", "handler returned null as header value of x"},
			{"return new Response(\"a\").header(\"x\", \"a\\nb\");", "line break or NUL in the header x"},
			{"return new Response(\"a\").header(\"x y\", \"a\");", "handler returned a header with the name 'x y'"},
			{"return new Response(\"a\").header(\"x\", \"€\");", "header value of x with characters beyond latin-1"},
			{"return new Response(\"a\").header(\"x\", \"a\".repeat(2000000));", "bytes of headers; the limit is"},
			{"return List.of(1).iterator();", "handler yielded an Integer; expected a String"},
		},
		broken: [][3]string{
			{"", "java.io.IOException", "cannot read the handler"},
			{"not a jar", "java.util.zip.ZipException", "zip"},
			{jars["None"], "java.lang.NoSuchMethodException", "has no method 'handle' that takes a Request, a String, a byte[] or nothing; it has go"},
			{jars["Raises"], "java.lang.ExceptionInInitializerError", ""},
			{jars["Fails"], "java.lang.IllegalStateException", "no"},
			{jars["Exits"], "Exit", "the process ends"},
		},
	}
}

var javaLanguage = language{
	name: "java", file: "handler.jar", source: wrapper.Java, args: []string{"-XX:-UsePerfData", "-jar"},
	interpreter: sync.OnceValues(func() (string, error) {
		_, err := interpreter("", "java", "-version")
		return "java", err
	}),
}

func javaHandler(body string) string {
	return "import fnpod.*;\nimport java.util.*;\npublic class Handler {\n  public static Object handle(Request req) throws Exception {\n    " + body + "\n  }\n}\n"
}

// javaJars are the handlers of the tests by their classes, compiled once.
var javaJars = sync.OnceValues(func() (map[string]string, error) {
	dir, err := os.MkdirTemp("", "fnpod-handlers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	api := filepath.Join(dir, "fnpod.jar")
	if err := os.WriteFile(api, []byte(wrapper.Java(wrapper.Native)), 0o600); err != nil {
		return nil, err
	}
	var files []string
	for name, source := range map[string]string{
		"Routes": javaRoutes,
		"Hello":  `public class Hello { public static String handle() { return "hello"; } }`,
		"Init":   `public class Init { int n; void init() { n++; } String go(String body) { return "init ran " + n + " times"; } }`,
		"None":   `public class None { static void go() { } void handle(int n) { } }`,
		"Raises": `public class Raises { static int n = 1 / Integer.parseInt("0"); static void handle() { } }`,
		"Fails":  `public class Fails { static void init() { throw new IllegalStateException("no"); } static void handle() { } }`,
		"Exits":  `public class Exits { static { System.exit(4); } static void handle() { } }`,
	} {
		file := filepath.Join(dir, name+".java")
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	all, err := classes([]string{"-cp", api}, files...)
	if err != nil {
		return nil, err
	}
	jars := map[string]string{}
	for name := range all {
		class := strings.TrimSuffix(name, ".class")
		b, err := jar("Function-Class: "+class+"\n", all)
		if err != nil {
			return nil, err
		}
		jars[class] = string(b)
	}
	return jars, nil
})

const javaRoutes = `
import fnpod.Request;
import fnpod.Response;
import java.io.ByteArrayInputStream;
import java.time.Duration;
import java.time.Instant;
import java.util.*;
import java.util.stream.Stream;

public class Routes {
  static { Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("bye"))); }

  static Object fails(String text) { throw new IllegalStateException(text); }

  static Stream<String> then(String what) {
    return Stream.of("a", what).map(s -> s.length() > 1 ? (String) fails(s) : s);
  }

  public static Object handle(Request req) throws Exception {
    switch (req.path()) {
      case "/text": return "grüß";
      case "/empty": return "";
      case "/bytes": return new byte[] {0, -1};
      case "/nothing": return null;
      case "/object": return Map.of("a", Arrays.asList(1, "ü", null));
      case "/list": return new Object[] {1, 2.5, true};
      case "/answer": return new Response("a,b").status(201).header("Content-Type", "text/csv").header("X-A", 1).header("X-A", "ü");
      case "/status": return new Response(null).status(404);
      case "/implied": return new Response("later").status(202).header("X-N", 7);
      case "/raise": return fails("bad thing ü");
      case "/exit": System.exit(3);
      case "/echo": return req.body();
      case "/portion": return req.query() + req.text();
      case "/stream": return List.of("ä", "b").iterator();
      case "/stream/none": return Stream.empty();
      case "/stream/early": return Stream.of(1).map(i -> fails("early"));
      case "/stream/late": return then("late");
      case "/stream/wrong": return List.of("a", 1).iterator();
      case "/stream/file": return new ByteArrayInputStream("from a file".getBytes());
      case "/stream/large": return Stream.generate(() -> "x".repeat(50000)).limit(100);
      case "/stream/endless": return Stream.generate(() -> "x".repeat(1000));
      case "/slow":
        Thread.sleep(50);
        return Stream.of("x".repeat(300000), "y");
      case "/print":
        System.out.println("out line");
        System.err.println("err line");
        return "printed";
      case "/request": {
        Map<String, Object> m = new LinkedHashMap<>();
        Duration left = req.remaining();
        m.put("method", req.method()); m.put("path", req.path()); m.put("query", req.query()); m.put("args", req.args());
        m.put("scheme", req.scheme()); m.put("host", req.host()); m.put("peer", req.peer()); m.put("body", req.text());
        m.put("json", req.json()); m.put("id", req.id()); m.put("accept", req.headers().get("accept"));
        m.put("type", List.of(req.header("Content-Type"), req.headers().get("content-type"))); m.put("cookie", req.header("Cookie"));
        m.put("all", req.headersAll().get("accept")); m.put("none", req.header("x")); m.put("latin", req.header("x-latin"));
        m.put("remaining", left.toMillis() > 0 && left.toMillis() <= 5000);
        m.put("deadline", Duration.between(Instant.now(), req.deadline()).abs().toMillis() < 10000);
        return m;
      }
      case "/request/plain": return Arrays.asList(req.id(), req.deadline(), req.remaining(), req.text());
      case "/request/text": return req.text();
      case "/request/json": return req.json();
      case "/hidden": {
        long own = System.getenv().keySet().stream().filter(k -> k.startsWith("FNPOD_WORKER")).count();
        Process p = new ProcessBuilder("sh", "-c", "env | grep -c ^FNPOD_WORKER; ls /proc/self/fd | grep -c ^[4-6]").start();
        String[] said = new String(p.getInputStream().readAllBytes()).split("\n");
        return "own: " + own + ", of a program: " + said[0] + ", descriptors: " + said[1];
      }
    }
    return null;
  }
}
`

// A file of source is compiled at the start; what is wrong with it is what javac says.
func TestJavaCompilesSource(t *testing.T) {
	t.Parallel()
	l := javaLanguage
	l.file = "Handler.java"
	w := launch(t, l, javaHandler("return 1 +;"), options{})
	require.Equal(t, byte(tHello), w.read().kind)
	f := w.read()
	require.Equal(t, byte(tInitError), f.kind)
	require.Equal(t, "Uncompiled", f.pair("type"))
	require.Contains(t, f.pair("message"), "Handler.java:5: error: illegal start of expression")
	require.Equal(t, 1, w.ended())

	w = start(t, l, "package a.b;\npublic class Handler {\n  interface I { int x(); }\n  java.util.concurrent.Future<?> go(byte[] b) {\n"+
		"    I i = () -> b.length;\n    return java.util.concurrent.CompletableFuture.completedFuture(\"\" + i.x());\n  }\n}\n", options{function: "go"})
	require.Equal(t, "3", string(w.ask(request(1, "POST", "/", "", []byte("abc"))).body))
}

// JSON has a parser and a writer of ours in Java; what one makes the other reads, and what is no JSON is refused.
func TestJavaJSON(t *testing.T) {
	t.Parallel()
	l := javaLanguage
	l.file = "Handler.java"
	w := start(t, l, javaHandler("return new Object[] {req.json()};"), options{})
	for _, text := range []string{
		`null`, `true`, `-0`, `12345678901234567`, `1.5e3`, `"a\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00ü"`, `[]`, `{}`, ` [ 1 , {"a" : [ ] } ] `, `"\ud800"`,
		`{"b":1,"a":{"c":[null,false]}}`,
	} {
		a := w.ask(request(1, "POST", "/", "", []byte(text)))
		require.Equal(t, byte(tResponse), a.kind, "%s: %s", text, a.meta)
		require.JSONEq(t, "["+text+"]", string(a.body))
	}
	for _, text := range []string{
		``, `nul`, `tru`, `01`, `1.`, `.5`, `+1`, `1e`, `--1`, `"`, `"\x"`, `"\u12"`, "\"\n\"", `[1,]`, `[1 2]`, `{"a"}`, `{a:1}`, `{"a":1,}`, `1 2`, `[`,
		strings.Repeat("[", 5000), `"\u00g0"`, `Infinity`,
	} {
		a := w.ask(request(1, "POST", "/", "", []byte(text)))
		require.Equal(t, byte(tError), a.kind, text)
		require.Equal(t, "java.lang.IllegalArgumentException", a.pair("type"), text)
	}
}

// What is JSON and what is not, by the word of another parser, for texts that are nearly right.
func TestJavaJSONAgreesWithGo(t *testing.T) {
	t.Parallel()
	l := javaLanguage
	l.file = "Handler.java"
	w := start(t, l, javaHandler("req.json(); return \"valid\";"), options{})
	seeds := []string{
		`{"a":[1,-2.5e+3,"b\u00fc\\n",true,false,null],"c":{"d":{}}}`, `[[],[{}],"",0,-0.0,1E9]`, `  "x"  `, `123`, `{"":"\ud83d\ude00"}`,
	}
	const letters = "{}[]\",:\\ \n\t0123456789.-+eEtrufalsn\x01/b"
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 3000 {
		text := []byte(seeds[r.IntN(len(seeds))])
		for range r.IntN(4) {
			at := r.IntN(len(text))
			switch r.IntN(3) {
			case 0:
				text[at] = letters[r.IntN(len(letters))]
			case 1:
				text = slices.Delete(text, at, at+1)
			default:
				text = slices.Insert(text, at, letters[r.IntN(len(letters))])
			}
		}
		a := w.ask(request(1, "POST", "/", "", text))
		require.Equal(t, json.Valid(text), a.kind == tResponse, "%q: %s", text, a.meta)
		if a.kind == tResponse {
			valid++
		}
	}
	require.Greater(t, valid, 500)
}
