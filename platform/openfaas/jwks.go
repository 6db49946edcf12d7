package openfaas

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"time"
)

const (
	fetchTimeout = 10 * time.Second
	fetchBytes   = 1 << 20
)

// discover reads the configuration of an issuer (OpenID Connect Discovery 1.0) and its keys.
func (k *keySet) discover(ctx context.Context, url string) (issuer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var config struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := fetch(ctx, url, &config); err != nil {
		return "", err
	}
	if config.Issuer == "" || config.JWKSURI == "" {
		return "", fmt.Errorf("%s: names no issuer or no jwks_uri", url)
	}
	keys, err := fetchKeys(ctx, config.JWKSURI)
	if err != nil {
		return "", err
	}
	k.url = config.JWKSURI
	k.byID.Store(&keys)
	return config.Issuer, nil
}

// fetch reads a document of JSON.
func fetch(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "openfaas-watchdog")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, fetchBytes))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// jwk is a public key as JSON (RFC 7517, RFC 7518 §6, RFC 8037 §2). Numbers are big-endian, in base64url.
type jwk struct {
	ID    string `json:"kid"`
	Type  string `json:"kty"`
	Use   string `json:"use"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// fetchKeys reads a set of keys. Those that we cannot use are left out; a set of none is an error.
func fetchKeys(ctx context.Context, url string) (map[string]any, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := fetch(ctx, url, &set); err != nil {
		return nil, err
	}
	keys := make(map[string]any, len(set.Keys))
	var errs []error
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		key, err := k.public()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: key %q: %w", url, k.ID, err))
			continue
		}
		keys[k.ID] = key
	}
	if len(keys) == 0 {
		return nil, errors.Join(append(errs, fmt.Errorf("%s: has no usable key", url))...)
	}
	return keys, nil
}

var errKey = errors.New("unknown or malformed")

// public returns the key as package crypto has it.
func (k jwk) public() (any, error) {
	switch k.Type {
	case "RSA":
		n, err1 := decode(k.N)
		e, err2 := decode(k.E)
		exponent := new(big.Int).SetBytes(e)
		if err1 != nil || err2 != nil || len(n) == 0 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 {
			return nil, errKey
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	case "EC":
		return k.curve()
	case "OKP":
		x, err := decode(k.X)
		if k.Curve != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
			return nil, errKey
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, errKey
}

func (k jwk) curve() (any, error) {
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Curve]
	x, err1 := decode(k.X)
	y, err2 := decode(k.Y)
	if !ok || err1 != nil || err2 != nil {
		return nil, errKey
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size {
		return nil, errKey
	}
	point := make([]byte, 1+2*size) // uncompressed, each number with its leading zeros
	point[0] = 4
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errKey
	}
	return key, nil
}

func decode(text string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(text) }
