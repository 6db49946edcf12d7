package nuclio_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/nuclio"
)

// §2.1: what the controller took out of the configuration is put back before use.
func TestNuclio21Secrets(t *testing.T) {
	t.Parallel()
	key := func(place string) string {
		return "NUCLIO_B64_" + strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(place)), "=", "_")
	}
	secret, err := json.Marshal(map[string]string{
		key("$ref:/spec/triggers/web/attributes/password"): "it's: a \"secret\"\n", key("$ref:/spec/unused"): "x", "content": "ignored",
	})
	require.NoError(t, err)
	values, err := nuclio.ParseSecret([]byte(base64.StdEncoding.EncodeToString(secret) + "\n"))
	require.NoError(t, err)
	require.Len(t, values, 2)
	text, err := nuclio.Restore([]byte("spec: {description: $ref:/spec/other, triggers: {web: {attributes: {password: $ref:/spec/triggers/web/attributes/password}}}}"), values)
	require.NoError(t, err)
	c, err := nuclio.ParseConfig(text)
	require.NoError(t, err)
	require.Equal(t, "it's: a \"secret\"\n", c.Spec.Triggers["web"].Attributes["password"])
	require.Equal(t, "$ref:/spec/other", c.Spec.Description)
	masked, err := nuclio.ParseConfig([]byte("spec: {runtime: python, triggers: {web: {kind: http, attributes: {password: $ref:/x}}}}"))
	require.NoError(t, err)
	c.Masked, c.Spec.Runtime = masked.Spec.Triggers, "python"
	web := c.Spec.Triggers["web"]
	web.Kind = nuclio.KindHTTP
	c.Spec.Triggers["web"] = web
	s, err := nuclio.Read(c, nuclio.Platform{}, nothing)
	require.NoError(t, err)
	for _, path := range []string{"/triggers", "/triggers/web"} {
		shown := string(s.Admin("GET", path, "").Body)
		require.NotContains(t, shown, "secret", "17: nobody reads it there")
		require.Contains(t, shown, "$ref:/x")
	}
	values, err = nuclio.ParseSecret(nil)
	require.NoError(t, err)
	require.Empty(t, values)
	for _, bad := range []string{"???", base64.StdEncoding.EncodeToString([]byte("[]")), base64.StdEncoding.EncodeToString([]byte(`{"NUCLIO_B64_!": "x"}`))} {
		_, err := nuclio.ParseSecret([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte("a: &b $ref:x\nc: [*b, $ref:x]"), "value: x")
	f.Fuzz(func(t *testing.T, text []byte, value string) {
		out, err := nuclio.Restore(text, map[string]string{"$ref:x": value})
		if err != nil {
			return
		}
		_, err = nuclio.Restore(out, nil)
		require.NoError(t, err)
	})
}
