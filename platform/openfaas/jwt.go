package openfaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

// Where the issuer of tokens is, unless jwt_auth_url says it.
const (
	gatewayURL = "http://gateway.openfaas:8080"
	localURL   = "http://127.0.0.1:8000"
)

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// leeway is how far clocks may differ.
const leeway = time.Second

// JWT is what jwt_auth asks of every request.
type JWT struct {
	Issuer    string // base URL of the issuer
	Name      string // of the function
	Namespace string
	Debug     bool // refusals are logged with their reason
}

// jwt reads the settings of jwt_auth; nil if it is off. Classic has its own word for yes.
func (r *reader) jwt(yes func(name string) bool) *JWT {
	if !yes("jwt_auth") {
		return nil
	}
	j := &JWT{Issuer: r.text("jwt_auth_url", gatewayURL), Name: r.raw("OPENFAAS_NAME"), Debug: yes("jwt_auth_debug")}
	if yes("jwt_auth_local") {
		j.Issuer = r.text("jwt_auth_url", localURL)
	}
	if j.Name == "" {
		r.fail("OPENFAAS_NAME %q: must be the name of the function when jwt_auth is set", j.Name)
	}
	namespace, ok := r.lookup("OPENFAAS_NAMESPACE")
	if !ok {
		text, err := r.readFile(namespaceFile)
		if err != nil {
			r.fail("OPENFAAS_NAMESPACE: is not set, and not to be read: %v", err)
		}
		namespace = strings.TrimSpace(string(text))
	}
	j.Namespace = namespace
	return j
}

// Gate lets requests pass that bring a token for the function. It may be used by any number of goroutines.
type Gate struct {
	settings *JWT
	target   string // what permissions are compared with
	issuer   string
	keys     keySet
	log      *slog.Logger
}

// NewGate asks the issuer for its keys.
func NewGate(ctx context.Context, s *JWT, log *slog.Logger) (*Gate, error) {
	g := &Gate{settings: s, target: s.Namespace + ":" + s.Name, log: log}
	issuer, err := g.keys.discover(ctx, strings.TrimSuffix(s.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, fmt.Errorf("jwt_auth: %w", err)
	}
	g.issuer = issuer
	return g, nil
}

// claims are those of a token.
type claims struct {
	jwt.RegisteredClaims

	Function struct {
		Permissions []string `json:"permissions"`
		Audience    []string `json:"audience"`
	} `json:"function"`
}

var (
	errNoToken   = errors.New("no token in the field Authorization")
	errForbidden = errors.New("insufficient permissions")
)

// Pass lets the request on, with the time that this took, or answers it. It reports whether it did the latter.
func (g *Gate) Pass(x *proxy.Exchange) (answered bool) {
	began := time.Now()
	err := g.check(x)
	if err == nil {
		setField(x.Request(), "X-Auth-Seconds", fmt.Sprintf("%f", time.Since(began).Seconds()))
		return false
	}
	if g.settings.Debug {
		g.log.Info("token refused", "err", err)
	}
	if errors.Is(err, errForbidden) {
		return g.refuse(x, http.StatusForbidden, errForbidden.Error())
	}
	return g.refuse(x, http.StatusUnauthorized, publicReason(err))
}

// publicReason tells a client what is wrong with its token, and nothing of keys.
func publicReason(err error) string {
	for _, e := range []error{errNoToken, jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "token is not valid"
}

func (g *Gate) refuse(x *proxy.Exchange, code int, text string) bool {
	fields := [][2]string{{"X-Openfaas-Internal", "faas-middleware"}}
	if code == http.StatusUnauthorized { // faas-cli looks at it and comes again with a token
		fields = append(fields, [2]string{"Www-Authenticate", "Bearer realm=IAM function invoke"})
	}
	return respond(x, code, text+"\n", fields...)
}

// check looks at the token of a request.
func (g *Gate) check(x *proxy.Exchange) error {
	value, _ := x.Field("Authorization")
	return g.Check(string(value))
}

// Check looks at the value of a field Authorization: a token of the issuer, for the issuer, that is not over and allows
// to call the function.
func (g *Gate) Check(authorization string) error {
	token := authorization
	if scheme, rest, ok := strings.Cut(token, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	if token == "" {
		return errNoToken
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
		jwt.WithIssuer(g.issuer), jwt.WithAudience(g.issuer), jwt.WithLeeway(leeway), jwt.WithExpirationRequired(),
	)
	var c claims
	if _, err := parser.ParseWithClaims(token, &c, g.keys.of); err != nil {
		return err
	}
	if !matches(c.Function.Permissions, g.target) || len(c.Function.Audience) > 0 && !matches(c.Function.Audience, g.target) {
		return errForbidden
	}
	return nil
}

// matches reports whether one of the patterns is the whole text; a * stands for anything.
func matches(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		parts := strings.Split(p, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		ok, err := regexp.MatchString("^(?s:"+strings.Join(parts, ".*")+")$", text)
		return ok && err == nil
	})
}

// setField gives the function a field of ours, and none of that name of the client.
func setField(r *http1.Request, name, value string) {
	r.Fields = slices.DeleteFunc(r.Fields, func(f http1.Field) bool { return bytes.EqualFold(f.Name, []byte(name)) })
	line := []byte(name + ": " + value + "\r\n")
	n := len(name)
	r.Fields = append(r.Fields, http1.Field{Name: line[:n:n], Value: line[n+2 : len(line)-2], Line: line})
}

// keySet are the keys of the issuer. They are asked for again when a token names one that is not there.
type keySet struct {
	url  string                         // set once
	byID atomic.Pointer[map[string]any] // public keys

	mu     sync.Mutex // held while somebody asks
	loaded time.Time  // guarded by mu
}

// keyPause is the least time between two questions for keys.
const keyPause = 10 * time.Second

// of finds the key of a token.
func (k *keySet) of(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	if key, ok := (*k.byID.Load())[id]; ok {
		return key, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := (*k.byID.Load())[id]; ok { // somebody has asked meanwhile
		return key, nil
	}
	if time.Since(k.loaded) >= keyPause {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		k.loaded = time.Now()
		keys, err := fetchKeys(ctx, k.url)
		if err != nil {
			return nil, err
		}
		k.byID.Store(&keys)
	}
	if key, ok := (*k.byID.Load())[id]; ok {
		return key, nil
	}
	return nil, jwt.ErrTokenUnverifiable
}
