// Package arch_test holds the map of the repository as a test: who may import whom, what the binary may link, and
// habits that no linter knows.
package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/fnpod/fnpod"

// arrows lists for every folder with Go code what of ours it may import. "..." stands for everything; a folder that
// ends with /... for all folders below it. Imports point one way: core packages never know platform or cmd.
var arrows = map[string][]string{
	"cmd/...":      {"..."},
	"bench/...":    {"..."},
	"platform/...": {"proxy", "proxy/http1", "queue", "broker", "metrics", "workers", "watchdog"},

	"proxy":            {"proxy/http1", "proxy/http2", "queue", "metrics"},
	"proxy/http1":      {},
	"proxy/http2":      {},
	"queue":            {},
	"broker":           {},
	"metrics":          {},
	"watchdog":         {"proxy/http1", "watchdog/zygote"}, // the head of a request, whose fields become variables
	"watchdog/zygote":  {},
	"workers":          {"workers/protocol", "workers/wrapper", "watchdog", "proxy/http1"},
	"workers/wrapper":  {},
	"workers/function": {"workers/protocol"}, // linked into functions, which shall not link the rest
	"workers/protocol": {},
	"scripts/...":      {},
	"e2e":              {},
	"e2e/hostile":      {},
	"e2e/knativestat":  {}, // a module of its own
	"examples/...":     {"workers/function"},
}

// direct lists the modules that our code imports, why, and where. Tests may use testify everywhere.
var direct = map[string]struct {
	reason  string
	folders []string
}{
	"github.com/alecthomas/kong":              {"command line: flags, help and manual from one declaration", []string{"cmd/fnpod", "cmd/fnpod-bench"}},
	"github.com/prometheus/client_golang":     {"registry and exposition of metrics", []string{"metrics", "platform"}},
	"github.com/prometheus/client_model":      {"metrics as messages", []string{"metrics"}},
	"github.com/prometheus/common":            {"text format of metrics", []string{"metrics"}},
	"github.com/golang-jwt/jwt/v5":            {"tokens of OpenFaaS: signatures and claims", []string{"platform"}},
	"go.yaml.in/yaml/v3":                      {"Nuclio's files of settings", []string{"platform/nuclio"}},
	"github.com/valyala/fasthttp":             {"the oracle of tests, the function of benchmarks", []string{"cmd/fnpod-bench"}},
	"go.uber.org/automaxprocs":                {"processors by CPU quota, at least 1", []string{"cmd/fnpod"}},
	"golang.org/x/net":                        {"frames of HTTP/2 in tests and in the load of benchmarks", []string{"cmd/fnpod-bench"}},
	"google.golang.org/grpc":                  {"clients and functions of gRPC in tests, the function of benchmarks", []string{"cmd/fnpod-bench"}},
	"google.golang.org/protobuf":              {"messages of gRPC in tests and benchmarks; client_model links it", []string{"cmd/fnpod-bench"}},
	"github.com/summerwind/h2spec":            {"tests alone: conformance of HTTP/2", nil},
	"golang.org/x/sync":                       {"errgroup", []string{"cmd/fnpod"}},
	"golang.org/x/sys":                        {"epoll, pidfd, memfd and friends", []string{"proxy", "watchdog", "workers", "metrics", "cmd/fnpod", "cmd/fnpod-bench"}},
	"github.com/HdrHistogram/hdrhistogram-go": {"latencies in benchmarks", []string{"bench", "cmd/fnpod-bench"}},
	"github.com/schollz/progressbar/v3":       {"how far a benchmark is", []string{"cmd/fnpod-bench"}},
	"gonum.org/v1/plot":                       {"plots of benchmarks", []string{"bench", "cmd/fnpod-bench"}},
	"github.com/stretchr/testify":             {"tests alone", nil},
	"github.com/coder/websocket":              {"tests alone: a WebSocket client and server that are not ours", nil},
	"go.uber.org/zap":                         {"tests of e2e/knativestat alone: so it is with the next three", nil},
	"k8s.io/apimachinery":                     {"names of Knative's autoscaler", nil},
	"knative.dev/networking":                  {"types of content of Knative's autoscaler", nil},
	"knative.dev/serving":                     {"the autoscaler itself", nil},
}

// file is one Go file of the repository.
type file struct {
	name   string // path from the root
	folder string
	test   bool
	ast    *ast.File
	text   string
}

// goFiles parses every Go file.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, file{
			name: name, folder: filepath.ToSlash(filepath.Dir(name)), test: strings.HasSuffix(name, "_test.go"), ast: parsed, text: string(text),
		})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(files), 10)
	return files
}

func (f file) imports(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		all = append(all, name)
	}
	return all
}

// within tells whether folder is pattern, or below it when the pattern ends with /... .
func within(folder, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "..."); ok {
		return base == "" || strings.HasPrefix(folder+"/", base)
	}
	return folder == pattern
}

// allowed returns what a folder may import of ours, by the longest pattern that fits it.
func allowed(folder string) (targets []string, known bool) {
	best := -1
	for pattern, list := range arrows {
		if within(folder, pattern) && len(pattern) > best {
			best, targets, known = len(pattern), list, true
		}
	}
	return targets, known
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.folder == "." {
			continue
		}
		targets, known := allowed(f.folder)
		require.True(t, known, "%s: a new folder belongs into the map in arch_test.go and ARCHITECTURE.md", f.name)
		for _, name := range f.imports(t) {
			target, ours := strings.CutPrefix(name, module+"/")
			if !ours || target == f.folder {
				continue
			}
			if f.test {
				core := f.folder != "e2e/knativestat" && !strings.HasPrefix(f.folder, "platform") && !strings.HasPrefix(f.folder, "cmd") && !strings.HasPrefix(f.folder, "bench")
				require.False(t, core && strings.HasPrefix(target, "platform"), "%s imports %s", f.name, name)
				continue
			}
			require.True(t, slices.ContainsFunc(targets, func(p string) bool { return within(target, p) }), "%s imports %s", f.name, name)
		}
	}
}

func TestThirdPartyImportsHaveAReason(t *testing.T) {
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, name := range f.imports(t) {
			first, _, _ := strings.Cut(name, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(name, module) {
				continue
			}
			owner := ""
			for m := range direct {
				if name == m || strings.HasPrefix(name, m+"/") {
					owner = m
				}
			}
			require.NotEmpty(t, owner, "%s imports %s: add it to arch_test.go with the reason", f.name, name)
			used[owner] = true
			if !f.test {
				require.True(t, slices.ContainsFunc(direct[owner].folders, func(p string) bool { return within(f.folder, p) || within(f.folder, p+"/...") }),
					"%s imports %s, which is there for %v", f.name, name, direct[owner].folders)
			}
		}
	}
}

// linked lists the modules that end up in the binary besides the direct ones, and who brings them.
var linked = map[string]string{
	"github.com/beorn7/perks":      "client_golang",
	"github.com/cespare/xxhash/v2": "client_golang",
	"github.com/munnerz/goautoneg": "client_golang",
	"github.com/pandatix/go-abnf":  "prometheus/common",
	"github.com/prometheus/procfs": "client_golang",
	"google.golang.org/protobuf":   "client_model",
}

func TestBinaryLinksOnlyWhatIsListed(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/fnpod")
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	modules := strings.Fields(string(out))
	for m := range linked {
		require.Contains(t, modules, m, "the binary does not link %s any more", m)
	}
	slices.Sort(modules)
	for _, m := range slices.Compact(modules) {
		if m == module {
			continue
		}
		_, isDirect := direct[m]
		_, isLinked := linked[m]
		require.True(t, isDirect || isLinked, "the binary links %s: add it to arch_test.go with the reason", m)
		require.NotContains(t, []string{"github.com/stretchr/testify", "github.com/coder/websocket", "golang.org/x/net", "google.golang.org/grpc", "github.com/valyala/fasthttp", "github.com/summerwind/h2spec", "github.com/HdrHistogram/hdrhistogram-go"}, m, "the binary links %s, which is for tests", m)
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if _, ok := comments[f.folder]; !ok {
			comments[f.folder] = nil
		}
		if f.ast.Doc != nil {
			comments[f.folder] = append(comments[f.folder], f.name)
		}
	}
	for folder, names := range comments {
		require.Len(t, names, 1, "package comments in %s", folder)
	}
}

// Only commands read flags and the environment and end the process; there is no init, so a package does nothing
// before it is called.
func TestOnlyCommandsTouchTheProcess(t *testing.T) {
	forbidden := []string{"os.Exit", "os.Getenv", "os.LookupEnv", "os.Environ", "os.Args", "signal.Notify", "signal.NotifyContext"}
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				require.NotEqual(t, "init", fn.Name.Name, f.name)
			}
		}
		if f.test || within(f.folder, "cmd/...") || within(f.folder, "scripts/...") || within(f.folder, "bench/...") || within(f.folder, "examples/...") {
			continue
		}
		if f.folder == "workers/function" { // linked into programs of others, which fnpod tells by their environment
			continue
		}
		require.NotContains(t, f.imports(t), "flag", f.name)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					require.NotContains(t, forbidden, x.Name+"."+s.Sel.Name, f.name)
				}
			}
			return true
		})
	}
}

func TestFoldersAreNamedAfterIdeas(t *testing.T) {
	for _, f := range goFiles(t) {
		for name := range strings.SplitSeq(f.folder, "/") {
			require.NotContains(t, []string{"pkg", "util", "utils", "common", "types", "base", "helpers", "misc"}, name, f.name)
		}
	}
}

// Nothing may depend on the machine that a file was written on.
func TestFilesNameNoMachine(t *testing.T) {
	words := []string{"/work/" + "main", "/work/" + "shared", "/root/" + "go", "/root/" + ".pyenv", "/tmp/" + "brief", "proxy.golang" + ".org", "deb.debian" + ".org", "registry.npmjs" + ".org", "pypi" + ".org"}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular() || name == "go.sum":
			return nil
		}
		text, err := os.ReadFile(name)
		for _, word := range words {
			require.NotContains(t, string(text), word, name)
		}
		return err
	})
	require.NoError(t, err)
}
