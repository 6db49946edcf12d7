package watchdog_test

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog"
)

var variableName = regexp.MustCompile(`^[A-Z0-9_]+$`)

// E1 to E5 for any head that the codec takes: what is in the environment is configured, of CGI, or within the prefix,
// once; no credentials, no Proxy, nothing too large; the path is what net/url makes of it.
func FuzzVariables(f *testing.F) {
	for _, fields := range []string{"", "Proxy: x\r\n", "A-b: 1\r\na-B: 2\r\nA_b: 3\r\n", "Cookie: secret\r\nAuthorization: secret\r\nContent-Type: a\r\nContent-Type: b\r\n"} {
		f.Add("/a%20b?c", fields)
	}
	f.Add("/%00", "Path: x\r\nRequest-Method: x\r\n-: 1\r\n")
	f.Add("/%", "X-Long: "+strings.Repeat("x", 20_000)+"\r\n")
	f.Fuzz(func(t *testing.T, target, fields string) {
		x := &exchange{}
		head := "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n"
		limits := http1.DefaultLimits()
		limits.HeadBytes = 128 << 10
		if n, err := x.request.Parse([]byte(head), limits); n != len(head) || err != nil {
			return
		}
		env, err := watchdog.VariablesOf([]string{"CONFIGURED=1", "HTTP_OURS=1"}, false, x)
		path, _, _ := strings.Cut(string(x.request.Target), "?")
		decoded, bad := url.PathUnescape(path)
		bad2 := strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f })
		if err != nil {
			if errors.Is(err, watchdog.ErrPath) != (bad != nil || bad2) && !errors.Is(err, watchdog.ErrVariables) {
				t.Fatalf("%q: %v", path, err)
			}
			return
		}
		if bad != nil || bad2 {
			t.Fatalf("path %q was taken", path)
		}
		seen, size := map[string]string{}, 0
		for _, entry := range env {
			name, value, ok := strings.Cut(entry, "=")
			if _, twice := seen[name]; twice || !ok || !variableName.MatchString(name) || strings.IndexByte(entry, 0) >= 0 || len(value) > 16<<10 {
				t.Fatalf("entry %q", entry)
			}
			seen[name] = value
			size += len(entry)
		}
		if size > 64<<10+100 || seen["CONFIGURED"] != "1" || seen["HTTP_OURS"] != "1" || seen["REQUEST_METHOD"] != "GET" || seen["PATH_INFO"] != decoded {
			t.Fatalf("environment %q", env)
		}
		for name := range seen {
			switch name {
			case "HTTP_PROXY", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_":
				t.Fatalf("there is a %s", name)
			}
		}
	})
}
