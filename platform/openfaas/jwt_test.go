package openfaas_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/openfaas"
)

// issuer is an issuer of tokens with its keys.
type issuer struct {
	*httptest.Server

	mu    sync.Mutex
	keys  []map[string]string // guarded by mu
	asked int                 // guarded by mu: for keys
	agent string              // guarded by mu
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.agent = r.UserAgent()
		var doc any = map[string]any{"issuer": "https://issuer.example", "jwks_uri": i.URL + "/keys"}
		if r.URL.Path == "/keys" {
			i.asked++
			doc = map[string]any{"keys": i.keys}
		}
		_ = json.NewEncoder(w).Encode(doc)
	}))
	t.Cleanup(i.Close)
	return i
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// add publishes a key.
func (i *issuer) add(t testing.TB, id string, key crypto.Signer) {
	t.Helper()
	k := map[string]string{"kid": id, "use": "sig"}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(public.N.Bytes()), b64([]byte{1, 0, 1})
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		require.NoError(t, err)
		half := (len(point) - 1) / 2
		k["kty"], k["crv"], k["x"], k["y"] = "EC", public.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(public)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

// claimsFor are good for ns:fn, apart from what change does.
func claimsFor(change func(c jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": "https://issuer.example", "aud": "https://issuer.example", "exp": time.Now().Add(time.Hour).Unix(),
		"function": map[string]any{"permissions": []string{"ns:fn"}},
	}
	if change != nil {
		change(c)
	}
	return c
}

func sign(t testing.TB, method jwt.SigningMethod, id string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = id
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func newGate(t testing.TB, i *issuer) *openfaas.Gate {
	t.Helper()
	g, err := openfaas.NewGate(t.Context(), &openfaas.JWT{Issuer: i.URL + "/", Name: "fn", Namespace: "ns"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return g
}

// §14: every kind of key that issuers use.
func TestTokensOfEveryKindOfKey(t *testing.T) {
	i := newIssuer(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ec384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	i.add(t, "rsa", rsaKey)
	i.add(t, "ec", ecKey)
	i.add(t, "ec384", ec384)
	i.add(t, "ed", edKey(t))
	i.keys = append(i.keys, map[string]string{"kid": "new", "kty": "from the future"})
	ed := edKey(t)
	i.add(t, "ed2", ed)
	g := newGate(t, i)
	require.Equal(t, "openfaas-watchdog", i.agent)
	for _, token := range []string{
		sign(t, jwt.SigningMethodRS256, "rsa", rsaKey, claimsFor(nil)),
		sign(t, jwt.SigningMethodPS512, "rsa", rsaKey, claimsFor(nil)),
		sign(t, jwt.SigningMethodES256, "ec", ecKey, claimsFor(nil)),
		sign(t, jwt.SigningMethodES384, "ec384", ec384, claimsFor(nil)),
		sign(t, jwt.SigningMethodEdDSA, "ed2", ed, claimsFor(nil)),
	} {
		require.NoError(t, g.Check("Bearer "+token))
		require.NoError(t, g.Check(token), "without the word, too")
		require.Error(t, g.Check("Bearer "+token[:len(token)-4]+"AAAA"))
	}
	require.Error(t, g.Check("Bearer "+sign(t, jwt.SigningMethodEdDSA, "ed", ed, claimsFor(nil))), "another key's name")
	require.Error(t, g.Check("Bearer "+sign(t, jwt.SigningMethodNone, "ed2", jwt.UnsafeAllowNoneSignatureType, claimsFor(nil))))
	require.Error(t, g.Check("Bearer "+sign(t, jwt.SigningMethodHS256, "ed2", []byte(ed.Public().(ed25519.PublicKey)), claimsFor(nil))), "a public key is no secret")
}

// §14: issuer, audience and times, with a second of leeway; a token without an end is refused (§24).
func TestClaimsOfTokens(t *testing.T) {
	i, key := newIssuer(t), edKey(t)
	i.add(t, "k", key)
	g := newGate(t, i)
	for name, test := range map[string]struct {
		good   bool
		change func(c jwt.MapClaims)
	}{
		"good":               {true, nil},
		"other issuer":       {false, func(c jwt.MapClaims) { c["iss"] = "https://other.example" }},
		"other audience":     {false, func(c jwt.MapClaims) { c["aud"] = "https://other.example" }},
		"one of audiences":   {true, func(c jwt.MapClaims) { c["aud"] = []string{"a", "https://issuer.example"} }},
		"expired":            {false, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }},
		"not yet":            {false, func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Minute).Unix() }},
		"without an end":     {false, func(c jwt.MapClaims) { delete(c, "exp") }},
		"without permission": {false, func(c jwt.MapClaims) { delete(c, "function") }},
	} {
		err := g.Check("Bearer " + sign(t, jwt.SigningMethodEdDSA, "k", key, claimsFor(test.change)))
		require.Equal(t, test.good, err == nil, "%s: %v", name, err)
	}
	require.Error(t, g.Check(""))
	require.Error(t, g.Check("Bearer "))
	require.Error(t, g.Check("Basic dTpw"))
}

// §14, §24.16: a pattern is compared with the whole name.
func TestPermissionsAreWholeNames(t *testing.T) {
	i, key := newIssuer(t), edKey(t)
	i.add(t, "k", key)
	g := newGate(t, i)
	for _, test := range []struct {
		good                  bool
		permissions, audience []string
	}{
		{true, []string{"ns:fn"}, nil},
		{true, []string{"other:fn", "ns:*"}, nil},
		{true, []string{"*"}, nil},
		{true, []string{"*:f*n"}, nil},
		{false, []string{"ns:f"}, nil},
		{false, []string{"s:fn"}, nil},
		{false, []string{"n.:fn"}, nil},
		{false, []string{""}, nil},
		{false, nil, nil},
		{true, []string{"ns:fn"}, []string{"x", "ns:fn"}},
		{false, []string{"ns:fn"}, []string{"ns:f"}},
		{false, nil, []string{"ns:fn"}},
	} {
		err := g.Check("Bearer " + sign(t, jwt.SigningMethodEdDSA, "k", key, claimsFor(func(c jwt.MapClaims) {
			c["function"] = map[string]any{"permissions": test.permissions, "audience": test.audience}
		})))
		require.Equal(t, test.good, err == nil, "%v", test)
		if !test.good {
			require.EqualError(t, err, "insufficient permissions")
		}
	}
}

// §14: keys are asked for again when a token names one that is not known, but not for every such token.
func TestKeysAreAskedForAgain(t *testing.T) {
	i, first, second := newIssuer(t), edKey(t), edKey(t)
	i.add(t, "first", first)
	g := newGate(t, i)
	i.add(t, "second", second)
	require.NoError(t, g.Check(sign(t, jwt.SigningMethodEdDSA, "second", second, claimsFor(nil))))
	for range 20 {
		require.Error(t, g.Check(sign(t, jwt.SigningMethodEdDSA, "third", second, claimsFor(nil))))
	}
	require.NoError(t, g.Check(sign(t, jwt.SigningMethodEdDSA, "first", first, claimsFor(nil))))
	require.Equal(t, 2, i.asked)
}

// §14: what is missing ends the start.
func TestGatesThatCannotBe(t *testing.T) {
	i := newIssuer(t)
	_, err := openfaas.NewGate(t.Context(), &openfaas.JWT{Issuer: i.URL}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "no usable key")
	i.Close()
	_, err = openfaas.NewGate(t.Context(), &openfaas.JWT{Issuer: i.URL}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "jwt_auth: ")
	_, err = read("fprocess=cat", "jwt_auth=true", "OPENFAAS_NAMESPACE=")
	require.ErrorContains(t, err, "OPENFAAS_NAME")
	_, err = read("fprocess=cat", "jwt_auth=true", "OPENFAAS_NAME=fn")
	require.ErrorContains(t, err, "OPENFAAS_NAMESPACE")
	s := good(t, "jwt_auth=1", "OPENFAAS_NAME=fn", "OPENFAAS_NAMESPACE=")
	require.Equal(t, &openfaas.JWT{Issuer: "http://gateway.openfaas:8080", Name: "fn"}, s.JWT)
	s = good(t, "jwt_auth=1", "jwt_auth_local=true", "OPENFAAS_NAME=fn", "OPENFAAS_NAMESPACE=ns")
	require.Equal(t, "http://127.0.0.1:8000", s.JWT.Issuer)
	require.Nil(t, good(t, "jwt_auth=yes").JWT)
	require.Nil(t, classic(t, "jwt_auth=1").JWT, "§17: not the word for yes")
}

func FuzzTokens(f *testing.F) {
	i, key := newIssuer(f), edKey(f)
	i.add(f, "k", key)
	g := newGate(f, i)
	f.Add("Bearer " + sign(f, jwt.SigningMethodEdDSA, "k", key, claimsFor(func(c jwt.MapClaims) { c["exp"] = 1 })))
	f.Add("Bearer a.b.c")
	f.Fuzz(func(t *testing.T, value string) {
		if g.Check(value) == nil {
			t.Errorf("%q may pass", value)
		}
	})
}
