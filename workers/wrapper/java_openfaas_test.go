package wrapper_test

import (
	"archive/zip"
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const javaOpenFaaS = `package com.openfaas.function;

import com.openfaas.model.*;
import java.util.*;

public class Handler extends com.openfaas.model.AbstractHandler {
    private int calls;

    public IResponse Handle(IRequest req) {
        calls++;
        Response res = new Response();
        switch (req.getPathRaw()) {
            case "/empty": return res;
            case "/text": res.setBody("ü"); return res;
            case "/html": res.setBody("<html>"); return res;
            case "/made":
                res.setBody("made"); res.setStatusCode(201); res.setContentType("x/y"); res.setHeader("X-A", "b"); res.setHeader("X-B", "c"); res.setHeader("X-B", null);
                return res;
            case "/field": res.setBody("a"); res.setContentType("x/y"); res.setHeader("Content-Type", "z/z"); return res;
            case "/large": res.setBody("x".repeat(300_000)); return res;
            case "/null": return null;
            case "/body": res.setBody(null); return res;
            case "/status": res.setStatusCode(7); return res;
            case "/raise": throw new IllegalStateException("the reason");
            case "/error": throw new StackOverflowError();
            case "/exit": System.exit(3);
            case "/break": res.setHeader("X-A", "a\nb"); return res;
            case "/print": System.out.println("printed"); return res;
        }
        res.setBody(String.join("\n", List.of(req.getBody(), req.getPathRaw(), "" + req.getQueryRaw(), new TreeMap<>(req.getQuery()).toString(), new TreeMap<>(req.getPath()).toString(),
            "" + req.getHeader("X-a"), "" + req.getHeader("x-A"), "" + req.getHeader("none"), new TreeMap<>(req.getHeaders()).toString(), "" + calls)));
        return res;
    }
}
`

// javaClasses compiles sources by their names against the worker's jar and returns all that is in it then.
func javaClasses(sources map[string]string) (map[string][]byte, error) {
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
	for name, source := range sources {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return classes([]string{"-cp", api}, files...)
}

var javaOpenFaaSClasses = sync.OnceValues(func() (map[string][]byte, error) {
	return javaClasses(map[string]string{
		"Handler.java": javaOpenFaaS,
		"Other.java":   "public class Other implements com.openfaas.model.IHandler { public com.openfaas.model.IResponse Handle(com.openfaas.model.IRequest r) { var a = new com.openfaas.model.Response(); a.setBody(\"other\"); return a; } }",
		"None.java":    "public class None { }",
	})
})

func javaJar(t *testing.T, files map[string][]byte) string {
	t.Helper()
	b, err := jar("", files)
	require.NoError(t, err)
	return string(b)
}

func javaOpenFaaSJar(t *testing.T) string {
	t.Helper()
	files, err := javaOpenFaaSClasses()
	require.NoError(t, err)
	return javaJar(t, files)
}

// OpenFaaS contract §19: what Handle of java11 and java17 returns; a jar alone has what it needs.
func TestOpenFaaS19JavaReturns(t *testing.T) {
	t.Parallel()
	w := start(t, javaLanguage, javaOpenFaaSJar(t), options{contract: wrapper.OpenFaaSHTTP, lane: 1 << 20})
	for i, c := range []struct {
		path        string
		status      uint16
		contentType string
		body        string
	}{
		{"/empty", 200, "", ""},
		{"/text", 200, textType, "ü"},
		{"/html", 200, htmlType, "<html>"},
		{"/made", 201, "x/y", "made"},
		{"/field", 200, "z/z", "a"},
		{"/large", 200, textType, strings.Repeat("x", 300_000)},
		{"/print", 200, "", ""},
	} {
		a := w.ask(path(uint32(i+1), c.path))
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, c.status, a.code, c.path)
		require.Equal(t, c.contentType, a.pair("content-type"), c.path)
		require.Equal(t, c.body, string(a.body), c.path)
		if c.status == 201 {
			require.Equal(t, "b", a.pair("x-a"))
			require.NotContains(t, a.meta, "x-b")
		}
	}
	for i, p := range []string{"/null", "/body", "/status", "/raise", "/error", "/break"} {
		a := w.ask(path(uint32(i+20), p))
		require.Equal(t, byte(tError), a.kind, p)
		require.NotContains(t, string(a.body), "fnpod", p)
	}
	a := w.ask(path(99, "/exit"))
	require.Equal(t, byte(tError), a.kind, "§23.5")
	require.Equal(t, byte(tBye), w.read().kind)
	require.Equal(t, 3, w.ended())
	require.Contains(t, w.stdout.String(), "printed\n", "§23.4: what is printed is log")
}

// OpenFaaS contract §19: the body is text and only there for POST, each header has its first value; one object has all requests.
func TestOpenFaaS19JavaRequest(t *testing.T) {
	t.Parallel()
	w := start(t, javaLanguage, javaOpenFaaSJar(t), options{contract: wrapper.OpenFaaSHTTP})
	a := w.ask(request(1, "POST", "/a/b%20c/d", "a=1&b&c=%C3%BC+x", []byte("bödy"), "x-a", "1", "x-a", "2", "content-type", "x/y"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	require.Equal(t, []string{
		"bödy", "/a/b c/d", "a=1&b&c=%C3%BC+x", "{a=1, b=null, c=ü x}", "{a=b c, d=}", "1", "1", "null", "{Content-type=x/y, X-a=1}", "1",
	}, strings.Split(string(a.body), "\n"))
	for i, target := range [][2]string{{"/%", ""}, {"/%zz", ""}, {"/", "a=%"}, {"/", "a[]=1|2"}} {
		require.Equal(t, uint16(400), w.ask(request(uint32(i+10), "GET", target[0], target[1], nil)).code, "what the JDK's server takes for no URI")
	}
	require.Contains(t, string(w.ask(request(20, "GET", "//a/b", "", nil)).body), "\n//a/b\n")
	w = start(t, javaLanguage, javaOpenFaaSJar(t), options{contract: wrapper.OpenFaaSHTTP})
	w.ask(get(1))
	a = w.ask(request(2, "PUT", "/", "", []byte("body")))
	require.Equal(t, []string{"", "/", "null", "{}", "{}", "null", "null", "null", "{}", "2"}, strings.Split(string(a.body), "\n"))
}

// OpenFaaS contract §19, §20: classes of an image come first, from its class path, from the folder lib beside the jar, or from the jar itself.
func TestOpenFaaS20JavaImage(t *testing.T) {
	t.Parallel()
	model, err := javaClasses(map[string]string{
		"Request.java": "package com.openfaas.model; import java.util.Map; public class Request implements IRequest {\n" +
			"public Request(String body, Map<String, String> h, String q, String p) { }\n" +
			"public String getBody() { return \"of the image\"; } public Map<String, String> getHeaders() { return Map.of(); } public String getHeader(String k) { return null; }\n" +
			"public String getQueryRaw() { return null; } public Map<String, String> getQuery() { return Map.of(); } public String getPathRaw() { return \"/\"; } public Map<String, String> getPath() { return Map.of(); } }",
	})
	require.NoError(t, err)
	handler, err := javaOpenFaaSClasses()
	require.NoError(t, err)
	together := maps.Clone(handler)
	maps.Copy(together, model)
	service := maps.Clone(handler)
	service["META-INF/services/com.openfaas.model.AbstractHandler"] = []byte("com.openfaas.function.Handler\n")
	lib := func(name string) map[string]string { return map[string]string{name: javaJar(t, model)} }
	for _, c := range []struct {
		name  string
		jar   map[string][]byte
		o     options
		first string
	}{
		{"alone", handler, options{}, ""},
		{"a service", service, options{}, ""},
		{"jar", together, options{}, "of the image"},
		{"lib", handler, options{files: lib("function/lib/model.jar")}, "of the image"},
		{"class path", handler, options{files: lib("deps/model.jar"), env: []string{"CLASSPATH=none.jar:deps/*"}}, "of the image"},
		{"class path with a jar", handler, options{files: lib("model.jar"), env: []string{"CLASSPATH=model.jar"}}, "of the image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.contract = wrapper.OpenFaaSHTTP
			w := start(t, javaLanguage, javaJar(t, c.jar), c.o)
			body, _, _ := strings.Cut(string(w.ask(get(1)).body), "\n")
			require.Equal(t, c.first, body)
		})
	}
}

// OpenFaaS contract §19: a class may be named, and a file of source is compiled; what is no handler ends the start.
func TestOpenFaaS19JavaHandlersByName(t *testing.T) {
	t.Parallel()
	w := start(t, javaLanguage, javaOpenFaaSJar(t), options{contract: wrapper.OpenFaaSHTTP, function: "Other"})
	require.Equal(t, "other", string(w.ask(get(1)).body))

	l := javaLanguage
	l.file = "Handler.java"
	w = start(t, l, javaOpenFaaS, options{contract: wrapper.OpenFaaSHTTP})
	require.Equal(t, "ü", string(w.ask(path(1, "/text")).body))

	for function, want := range map[string]string{"None": "None is no com.openfaas.model.IHandler", "com.Missing": "java.lang.ClassNotFoundException: com.Missing"} {
		w := launch(t, javaLanguage, javaOpenFaaSJar(t), options{contract: wrapper.OpenFaaSHTTP, function: function})
		require.Equal(t, byte(tHello), w.read().kind)
		f := w.read()
		require.Equal(t, byte(tInitError), f.kind)
		require.Contains(t, string(f.body), want)
		require.NotContains(t, string(f.body), "at fnpod.")
		require.Equal(t, 1, w.ended())
	}
}

// The worker's jar has the interfaces of other platforms only beside its own classes: a handler's jar is not searched for those.
func TestJavaJarHasNoServices(t *testing.T) {
	t.Parallel()
	b := []byte(wrapper.Java(wrapper.Native))
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	for _, f := range r.File {
		require.Regexp(t, `^(META-INF/MANIFEST\.MF|fnpod/.*\.class|com/openfaas/model/\w+\.class|io/nuclio/\w+\.class)$`, f.Name)
	}
}
