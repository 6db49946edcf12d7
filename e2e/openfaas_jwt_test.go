package e2e_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// tokenIssuer is an issuer with one key, and what makes its tokens.
func tokenIssuer(t *testing.T) (url string, token func(permission string) string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL, server.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	})
	return server.URL, func(permission string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"iss": server.URL, "aud": server.URL, "exp": time.Now().Add(time.Hour).Unix(),
			"function": map[string]any{"permissions": []string{permission}},
		})
		token.Header["kid"] = "k"
		text, err := token.SignedString(key)
		require.NoError(t, err)
		return text
	}
}

// §14: who has no token, or one for something else, does not get to the function.
func TestOpenFaaS14Tokens(t *testing.T) {
	t.Parallel()
	url, token := tokenIssuer(t)
	env := []string{"jwt_auth=true", "jwt_auth_url=" + url, "OPENFAAS_NAME=fn", "OPENFAAS_NAMESPACE=ns", "ready_path=/path-of-ready"}
	p := ofWatchdog(t, env...)
	for _, bad := range []string{"X-No: token", "Authorization: Bearer nonsense", "Authorization: Basic dTpw"} {
		resp, body := ofAsk(t, p, "POST", "/", "x", bad)
		require.Equal(t, 401, resp.StatusCode)
		require.Equal(t, "Bearer realm=IAM function invoke", resp.Header.Get("WWW-Authenticate"))
		require.Equal(t, "faas-middleware", resp.Header.Get("X-Openfaas-Internal"))
		require.NotEmpty(t, body)
	}
	resp, body := ofAsk(t, p, "POST", "/", "x", "Authorization: Bearer "+token("ns:f"))
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, "insufficient permissions\n", body)
	require.Equal(t, "faas-middleware", resp.Header.Get("X-Openfaas-Internal"))
	resp, body = ofAsk(t, p, "POST", "/", "x", "Authorization: Bearer "+token("ns:fn"), "X-Auth-Seconds: 17")
	require.Equal(t, 200, resp.StatusCode)
	var got seen
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.header("X-Auth-Seconds"), 1)
	require.Regexp(t, `^0\.\d{6}$`, got.header("X-Auth-Seconds")[0])
	for _, path := range []string{"/_/health", "/_/ready"} {
		code, _ := p.get(path)
		require.Equal(t, 200, code, "open, and so is what ready_path asks")
	}
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="401",method="post"}`) == 3 }, 10*time.Second, 5*time.Millisecond, "§15")

	p = ofCommand(t, "serializing", "env", env...)
	_, body = ofAsk(t, p, "POST", "/", "x", "Authorization: Bearer "+token("ns:fn"))
	require.Regexp(t, `(?m)^Http_X_Auth_Seconds=0\.\d{6}$`, body)

	p = ofClassic(t, "cat", env...)
	code, _ := p.get("/_/ready")
	require.Equal(t, 401, code, "a path like any other")
}

// §14: without an issuer, or a name, there is no start.
func TestOpenFaaS14BadStarts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want string
		env  []string
	}{
		{"OPENFAAS_NAME", []string{"OPENFAAS_NAMESPACE=ns"}},
		{"OPENFAAS_NAMESPACE", []string{"OPENFAAS_NAME=fn"}},
		{"jwt_auth: ", []string{"OPENFAAS_NAME=fn", "OPENFAAS_NAMESPACE=ns", "jwt_auth_url=http://" + freePort(t)}},
	} {
		p := ofPod(t, append(test.env, "jwt_auth=true")...)
		p.begin()
		require.Equal(t, 1, p.exit(), test.want)
		require.Contains(t, p.log.String(), test.want)
	}
}
