package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kubelet are the fields of its probe.
var kubelet = []string{"User-Agent: kube-probe/1.30", "K-Network-Probe: queue"}

// waitForDrain is the preStop hook of a user container: the answer comes when the pod may go.
func (p *queuePod) waitForDrain() <-chan int {
	code := make(chan int, 1)
	go func() {
		c, _ := p.pod.ask("http://" + p.drain + "/wait-for-drain")
		code <- c
	}()
	return code
}

func (p *queuePod) waitShuttingDown() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		resp, body := p.ask("GET", "/", "", kubelet...)
		return resp.StatusCode == 503 && body == "shutting down\n"
	}, 10*time.Second, time.Millisecond)
}

func TestKnative112To114TheDrainEndsWhenNobodyComes(t *testing.T) {
	t.Parallel()
	otherwise(t, "30 seconds of quiet are fixed")
	f := newHoldingFunction(t)
	p := queueProxy(t, f.address, "FNPOD_DRAIN_DELAY=1s")
	running := p.later("/")
	hook, second := p.waitForDrain(), p.waitForDrain() // of two user containers
	p.waitShuttingDown()
	p.signal(syscall.SIGTERM)
	for _, fields := range [][]string{
		{"User-Agent: Knative-Activator-Probe", "K-Network-Probe: queue"},
		{"User-Agent: Knative-Autoscaling-Probe", "K-Network-Probe: activator"},
		{"K-Network-Probe: probe", "K-Network-Hash: h"},
	} {
		resp, body := p.ask("GET", "/", "", fields...)
		require.Equal(t, 503, resp.StatusCode)
		require.Equal(t, "shutting down\n", body)
	}
	last := time.Now()
	var late []<-chan answer
	for range 3 { // each restarts the timer, though none has ended
		last = time.Now()
		late = append(late, p.later("/"))
		time.Sleep(600 * time.Millisecond)
	}
	require.Empty(t, hook, "whoever waits, waits until it is quiet")
	require.Equal(t, 200, <-hook)
	require.Equal(t, 200, <-second)
	require.GreaterOrEqual(t, time.Since(last), time.Second)
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", p.listen)
		if err == nil {
			_ = nc.Close()
		}
		return refusedNow(err)
	}, 10*time.Second, 5*time.Millisecond, "the port is closed")
	f.release()
	require.Equal(t, answer{200, "", true}, <-running, "what runs is answered, with Connection: close (D3)")
	for _, got := range late {
		require.Equal(t, 200, (<-got).code)
	}
	require.Equal(t, 0, p.exit())
}

func TestKnative113AHookWithoutSIGTERMIsLetGo(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, told))
	begun := time.Now()
	hook := p.waitForDrain()
	p.waitShuttingDown()
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 200, resp.StatusCode, "requests are served")
	require.False(t, resp.Close)
	require.Equal(t, 200, <-hook)
	require.GreaterOrEqual(t, time.Since(begun), 900*time.Millisecond)
	require.Eventually(t, func() bool {
		resp, body := p.ask("GET", "/", "", kubelet...)
		return resp.StatusCode == 200 && body == "queue"
	}, 10*time.Second, time.Millisecond, "readiness is normal again")
	code, body := p.pod.ask("http://" + p.drain + "/")
	require.Equal(t, 404, code)
	require.Equal(t, "404 page not found\n", body)
}

func TestKnative114ASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	otherwise(t, "a drain is seen by its probes alone")
	f := newHoldingFunction(t)
	p := queueProxy(t, f.address, "FNPOD_DRAIN_DELAY=1h")
	p.later("/")
	p.signal(syscall.SIGTERM)
	p.waitShuttingDown()
	p.signal(syscall.SIGINT)
	require.Equal(t, 1, p.exit())
}

// D3: clients that keep their connections are told to leave, and no request of theirs fails.
func TestKnativeD3ADrainUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	otherwise(t, "D3: connections are kept, the drain does not end")
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			address, _ := patientContainer(t)
			p := queueProxy(t, address, "CONTAINER_CONCURRENCY=10", "FNPOD_DRAIN_DELAY=3s")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var clients sync.WaitGroup
			var good, failed atomic.Int64
			var fault atomic.Value
			for i := range 8 {
				client := clientOf(t, protocol)
				clients.Go(func() {
					for ctx.Err() == nil {
						method := []string{"GET", "POST"}[i%2]
						r, err := http.NewRequest(method, "http://"+p.listen+"/", strings.NewReader("body"))
						if err != nil {
							return
						}
						resp, err := client.Do(r)
						if err == nil {
							_, err = io.Copy(io.Discard, resp.Body)
							_ = resp.Body.Close()
							if resp.StatusCode != 200 {
								err = fmt.Errorf("status %d", resp.StatusCode)
							}
						}
						if err != nil {
							failed.Add(1)
							fault.Store(err.Error())
							return
						}
						good.Add(1)
					}
				})
			}
			enough := func(n int64) {
				require.Eventually(t, func() bool { return good.Load() > n || failed.Load() > 0 }, 20*time.Second, time.Millisecond)
			}
			enough(100)
			p.signal(syscall.SIGTERM)
			p.waitShuttingDown()
			enough(good.Load() + 300)
			cancel()
			clients.Wait()
			require.Zero(t, failed.Load(), "%v", fault.Load())
			require.Equal(t, 0, p.exit())
		})
	}
}

// certificate writes a pair of files as the controller mounts them.
func writeCertificate(t *testing.T, folder, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func TestKnative9TLS(t *testing.T) {
	t.Parallel()
	otherwise(t, "the folder of certificates is fixed")
	folder := t.TempDir()
	writeCertificate(t, folder, "kn-user-default")
	p := queueProxy(t, dualContainer(t, told), "FNPOD_KNATIVE_CERTS="+folder, "CONTAINER_CONCURRENCY=1")
	secure := func(protocol string, version uint16) (*http.Response, string, error) {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(protocol == "HTTP/1.1")
		protocols.SetHTTP2(protocol == "HTTP/2.0")
		transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: version}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + p.tls + "/x")
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp, string(b), err
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		resp, body, err := secure(protocol, 0)
		require.NoError(t, err)
		require.Equal(t, protocol, resp.Proto)
		require.Contains(t, body, "GET /x "+protocol, "8.1: the function is spoken to as the client speaks")
		require.EqualValues(t, tls.VersionTLS13, resp.TLS.Version)
		require.Equal(t, "kn-user-default", resp.TLS.PeerCertificates[0].Subject.CommonName)
	}
	_, _, err := secure("HTTP/1.1", tls.VersionTLS12)
	require.ErrorContains(t, err, "protocol version")
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 200, resp.StatusCode, "9.1: the plain port stays")

	writeCertificate(t, folder, "renewed")
	require.Eventually(t, func() bool {
		resp, _, err := secure("HTTP/1.1", 0)
		return err == nil && resp.TLS.PeerCertificates[0].Subject.CommonName == "renewed"
	}, 20*time.Second, 50*time.Millisecond)
	require.Contains(t, p.log.String(), "Certificate and/or key have changed on disk and were reloaded.")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
}

func TestKnative94TLSSettingsMatterWithACertificate(t *testing.T) {
	t.Parallel()
	otherwise(t, "the folder of certificates is fixed")
	p := queueProxy(t, userContainer(t, told), "QUEUE_PROXY_TLS_MIN_VERSION=1.1", "FNPOD_KNATIVE_CERTS="+t.TempDir())
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 200, resp.StatusCode)

	folder := t.TempDir()
	writeCertificate(t, folder, "x")
	p = prepareQueueProxy(t, freePort(t), "QUEUE_PROXY_TLS_MIN_VERSION=1.1", "FNPOD_KNATIVE_CERTS="+folder)
	p.begin()
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.log.String(), `QUEUE_PROXY_TLS_MIN_VERSION "1.1": must be 1.2 or 1.3`)
}
