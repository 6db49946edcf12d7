package wrapper_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

var update = flag.Bool("update", false, "write java.jar from its sources")

// classes compiles sources and returns the classes by their names in a jar.
func classes(options []string, sources ...string) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "fnpod-classes")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out, err := exec.Command("javac", append(append([]string{"--release", "11", "-d", dir}, options...), sources...)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("these tests need javac: %w: %s", err, out)
	}
	files := map[string][]byte{}
	return files, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	})
}

// jar packs classes, always in the same way.
func jar(manifest string, files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string, content []byte) error {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err == nil {
			_, err = f.Write(content)
		}
		return err
	}
	errs := []error{add("META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\n"+manifest))}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		errs = append(errs, add(name, files[name]))
	}
	errs = append(errs, w.Close())
	return b.Bytes(), errors.Join(errs...)
}

func unpack(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, f := range r.File {
		c, err := f.Open()
		require.NoError(t, err)
		files[f.Name], err = io.ReadAll(c)
		require.NoError(t, err)
	}
	return files
}

// The jar is in the repository so that the build needs no JDK. Its manifest has the hash of the sources it was built from, and the
// compiler's version: the same one must come to the same classes.
func TestJavaJarIsBuiltFromItsSources(t *testing.T) {
	var sources []string
	require.NoError(t, filepath.WalkDir("java", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".java" {
			sources = append(sources, path)
		}
		return err
	}))
	hash := sha256.New()
	for _, s := range sources {
		text, err := os.ReadFile(s)
		require.NoError(t, err)
		fmt.Fprintf(hash, "%s %d\n%s", s, len(text), text)
	}
	out, err := exec.Command("javac", "-version").Output()
	require.NoError(t, err, "this test needs javac")
	version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "javac "), ".")
	version = strings.TrimSpace(version)
	built, err := classes([]string{"-g:source,lines", "-Xlint:all", "-Werror"}, sources...)
	require.NoError(t, err)
	manifest := fmt.Sprintf("Main-Class: fnpod.Worker\nBuild-Jdk-Spec: %s\nSources-SHA256: %x\n", version, hash.Sum(nil))
	if *update {
		b, err := jar(fold(manifest), built)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile("java.jar", b, 0o644))
		return
	}
	kept := unpack(t, []byte(wrapper.Java(wrapper.Native)))
	text := strings.ReplaceAll(string(kept["META-INF/MANIFEST.MF"]), "\n ", "")
	require.Contains(t, text, fmt.Sprintf("Sources-SHA256: %x\n", hash.Sum(nil)), "run make java")
	if !strings.Contains(text, "Build-Jdk-Spec: "+version+"\n") {
		return // another compiler may come to other bytes
	}
	delete(kept, "META-INF/MANIFEST.MF")
	require.Len(t, kept, len(built))
	for name, class := range built {
		require.True(t, bytes.Equal(class, kept[name]), "%s: run make java", name)
	}
}

// fold breaks lines of a manifest, which may be 72 bytes long.
func fold(manifest string) string {
	var b strings.Builder
	for line := range strings.Lines(manifest) {
		for line = strings.TrimSuffix(line, "\n"); len(line) > 72; line = " " + line[72:] {
			b.WriteString(line[:72] + "\n")
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
