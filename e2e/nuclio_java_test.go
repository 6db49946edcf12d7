package e2e_test

import (
	"archive/zip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nuclioJavaFunction = `
import io.nuclio.*;
import java.util.Map;

public class Main implements EventHandler {
    public Response handleEvent(Context context, Event event) {
        switch (event.getPath()) {
            case "/raise": throw new IllegalStateException("the reason");
            case "/exit": System.exit(3);
            case "/log": context.getLogger().warnWith("hot", "a", "ü");
        }
        return new Response().setBody(event.getMethod() + event.getPath() + event.getTriggerInfo().getKindName() + event.getBody().length + System.getProperty("given"))
            .setStatusCode(201).setHeaders(Map.of("X-A", event.getHeaderString("X-U")));
    }
}
`

// nuclioJar compiles a function and puts it where Nuclio's builder does.
func nuclioJar(t *testing.T, dir string) {
	t.Helper()
	source := filepath.Join(dir, "Main.java")
	require.NoError(t, os.WriteFile(source, []byte(nuclioJavaFunction), 0o600))
	out, err := exec.CommandContext(t.Context(), "javac", "-cp", "../workers/wrapper/java.jar", "-d", dir, source).CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	class, err := os.ReadFile(filepath.Join(dir, "Main.class"))
	require.NoError(t, err)
	file, err := os.Create(filepath.Join(dir, "nuclio-java-wrapper.jar"))
	require.NoError(t, err)
	jar := zip.NewWriter(file)
	w, err := jar.Create("Main.class")
	require.NoError(t, err)
	_, err = w.Write(class)
	require.NoError(t, errors.Join(err, jar.Close(), file.Close()))
}

// §11: a function in Java, without Nuclio's wrapper.
func TestNuclio11Java(t *testing.T) {
	t.Parallel()
	p := prepareNuclio(t, nuclioSpec{runtime: "java", handler: "pkg:Main", spec: "  runtimeAttributes: {jvmOptions: [-Dgiven=here, -Xmx64m]}\n"})
	nuclioJar(t, p.dir)
	p.begin()
	p.waitHealthy()
	resp, body := nuclioAsk(t, p, "PUT", "/a/%2e./b", string(make([]byte, 200_000)), "X-U: ü")
	require.Equal(t, 201, resp.StatusCode)
	require.Equal(t, "PUT/bhttp200000here", body)
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	require.Equal(t, "ü", resp.Header.Get("X-A"))
	resp, body = nuclioAsk(t, p, "GET", "/raise", "")
	require.Equal(t, 500, resp.StatusCode)
	require.Contains(t, body, "Error in handler: java.lang.IllegalStateException: the reason\n")
	resp, _ = nuclioAsk(t, p, "GET", "/log", "", "X-U: u", "X-Nuclio-Log-Level: info")
	require.Contains(t, resp.Header.Get("X-Nuclio-Logs"), `"message":"hot","a":"\u00fc"`)
	require.Eventually(t, func() bool {
		return regexpMatch(`\(W\) essor\.http\.w0\.java\.logger hot {"a": "ü"}`, p.log.String())
	}, 10*time.Second, time.Millisecond)
	resp, _ = nuclioAsk(t, p, "GET", "/exit", "")
	require.Equal(t, 500, resp.StatusCode, "and the pod lives")
}

// §11: a jar that is not there ends the pod, and says why.
func TestNuclio11JavaWithoutAJar(t *testing.T) {
	t.Parallel()
	p := prepareNuclio(t, nuclioSpec{runtime: "java", handler: "Main"})
	p.begin()
	require.NotZero(t, p.exit())
	require.Contains(t, p.log.String(), `nuclio-java-wrapper.jar": no such file`)
}
