package nuclio

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// §7.3: path and fields of an event are what fasthttp, which the processor is built on, makes of the target.
func FuzzNuclio73PathAndFieldsAreThoseOfFasthttp(f *testing.F) {
	for _, seed := range []string{
		"/", "", "a", "/a b", "//a///b//", "/a/./b/../c/.", "/a/..", "/..", "/../../a", "/.", "/a/...", "/%2e%2e/a", "/a%2Fb", "/%", "/%a", "/%zz%20", "/.a/..b/c.",
		"a=b", "a=b&a=c", "a", "=b", "a=&=&&b", "a+b=c+d%2B", "%3d=%26", "a=b=c", "+%2", "%41%4g", "%+",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var uri fasthttp.URI
		uri.SetPathBytes(b)
		require.Equal(t, string(uri.Path()), cleanPath(b))
		var args fasthttp.Args
		args.ParseBytes(b)
		want := map[string]string{}
		for name, value := range args.All() {
			want[string(name)] = string(value)
		}
		require.Equal(t, want, queryFields(b))
	})
}
