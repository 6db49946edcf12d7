package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy"
)

// fconn2 is a connection to a function that speaks HTTP/2, frame by frame.
type fconn2 struct {
	*fconn
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

// newFunction2 runs script for every connection, after the preface.
func newFunction2(t testing.TB, network string, script func(*fconn2)) *function {
	return newFunction(t, network, func(c *fconn) {
		s := &fconn2{fconn: c, fr: http2.NewFramer(c.Conn, c.r)}
		s.enc = hpack.NewEncoder(&s.block)
		s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.fr.AllowIllegalWrites = true
		if _, err := io.ReadFull(c.r, make([]byte, len(http2.ClientPreface))); err != nil || s.fr.WriteSettings() != nil {
			return
		}
		script(s)
	})
}

// next reads up to the head of the next request.
func (s *fconn2) next() *http2.MetaHeadersFrame {
	for {
		f, err := s.fr.ReadFrame()
		if err != nil {
			runtime.Goexit()
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = s.fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			s.f.calls.Add(1)
			return f
		}
	}
}

// whole reads a request to its end.
func (s *fconn2) whole() uint32 {
	h := s.next()
	for ended := h.StreamEnded(); !ended; {
		f, err := s.fr.ReadFrame()
		if err != nil {
			runtime.Goexit()
		}
		d, ok := f.(*http2.DataFrame)
		ended = ok && d.StreamID == h.StreamID && d.StreamEnded()
	}
	return h.StreamID
}

func (s *fconn2) head(id uint32, end bool, pairs ...string) {
	s.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = s.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	_ = s.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end})
}

// overH2C is a backend that speaks HTTP/2 to f.
func overH2C(f *function) *proxy.HTTPBackend {
	b := f.backend()
	b.Protocol = proxy.ProtocolH2C
	return b
}

// R4: a request is sent again once, and only when the function says that it did not
// look at it and the whole body is there.
func TestR4RefusedStreamsAreSentOnceAgain(t *testing.T) {
	refuse := map[string]func(s *fconn2, id uint32){
		"REFUSED_STREAM": func(s *fconn2, id uint32) { _ = s.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY": func(s *fconn2, _ uint32) {
			_ = s.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			s.wait()
		},
	}
	for name, refusal := range refuse {
		for _, request := range []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", post("/", "hello"), upload(chunkedFraming) + "3\r\nabc\r\n"} {
			for _, stubborn := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %.4s %d %v", name, request, len(request), stubborn), func(t *testing.T) {
					var refused atomic.Int64
					f := newFunction2(t, "tcp", func(s *fconn2) {
						for {
							id := s.next().StreamID
							if refused.Add(1) == 1 || stubborn {
								refusal(s, id)
								continue
							}
							s.head(id, true, ":status", "204")
						}
					})
					p := newPod(t, overH2C(f))
					c := p.dial()
					c.send(request)
					code, runs := 204, 2
					if stubborn {
						code = 502
					}
					if strings.HasPrefix(request, upload(chunkedFraming)) {
						code, runs = 502, 1
					}
					require.Equal(t, code, c.receive("POST").code)
					require.EqualValues(t, runs, f.calls.Load())
					require.Equal(t, runs-1, p.count(nameRetries))
				})
			}
		}
	}
}

// A function that gives up while its client says nothing is heard at once.
func TestFunctionsThatGiveUpWhileTheClientIsSilent(t *testing.T) {
	for _, begun := range []bool{false, true} {
		for _, code := range []http2.ErrCode{http2.ErrCodeCancel, http2.ErrCodeNo} {
			t.Run(fmt.Sprint(begun, code), func(t *testing.T) {
				f := newFunction2(t, "tcp", func(s *fconn2) {
					for {
						id := s.next().StreamID
						if begun {
							s.head(id, false, ":status", "200", "content-type", "application/grpc")
						}
						_ = s.fr.WriteRSTStream(id, code)
					}
				})
				p := newPod(t, f.backend())
				c := p.dial2()
				id := c.open(false, "POST", "/", "content-type", "application/grpc", "te", "trailers")
				r := c.receive(id)
				if begun {
					require.True(t, r.reset && !r.ended, "%+v", r)
				} else {
					require.Equal(t, "14", r.get("grpc-status"))
				}
				p.waitQueue(0, 0)
			})
		}
	}
}

// R4: anything else may have been a run.
func TestR4OtherResetsAreNotRepeated(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeCancel, http2.ErrCodeEnhanceYourCalm} {
		for _, request := range []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", post("/", "hello")} {
			t.Run(code.String()+" "+request[:4], func(t *testing.T) {
				f := newFunction2(t, "tcp", func(s *fconn2) {
					for {
						_ = s.fr.WriteRSTStream(s.whole(), code)
					}
				})
				p := newPod(t, overH2C(f))
				c := p.dial()
				c.send(request)
				c.requireCode(502, "reset")
				require.EqualValues(t, 1, f.calls.Load())
				p.waitFault("reset", 1)
				p.waitQueue(0, 0)
			})
		}
	}
}

func TestHostileAnswersOverHTTP2(t *testing.T) {
	answer := func(pairs ...string) func(*fconn2, uint32) {
		return func(s *fconn2, id uint32) { s.head(id, true, pairs...) }
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("x-%d", i), "v")
	}
	for name, script := range map[string]func(*fconn2, uint32){
		"status 99":         answer(":status", "99"),
		"status 600":        answer(":status", "600"),
		"status 000":        answer(":status", "000"),
		"status -99":        answer(":status", "-99"),
		"status +200":       answer(":status", "+200"),
		"status 0200":       answer(":status", "0200"),
		"status abc":        answer(":status", "abc"),
		"no status":         answer("x", "y"),
		"upper case":        answer(":status", "200", "X-Up", "v"),
		"NUL in a value":    answer(":status", "200", "x", "a\x00b"),
		"line in a value":   answer(":status", "200", "x", "a\r\nb: c"),
		"space in a name":   answer(":status", "200", "x y", "v"),
		"300 fields":        answer(append([]string{":status", "200"}, many...)...),
		"20 KiB of fields":  answer(":status", "200", "x", strings.Repeat("x", 10<<10), "y", strings.Repeat("x", 10<<10)),
		"half a frame":      func(s *fconn2, _ uint32) { s.write("\x00\x00\xff\x01"); _ = s.Close() },
		"a frame too large": func(s *fconn2, _ uint32) { s.write("\xff\xff\xff\x00\x00\x00\x00\x00\x01") },
		"an end at once":    func(s *fconn2, _ uint32) { _ = s.Close() },
		"data without head": func(s *fconn2, id uint32) { _ = s.fr.WriteData(id, true, []byte("x")) },
		"an interim end":    answer(":status", "103"),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction2(t, "tcp", func(s *fconn2) {
				script(s, s.whole())
				s.wait()
			})
			p := newPod(t, overH2C(f))
			c := p.dial()
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			require.Equal(t, 502, c.receive("GET").code)
			require.EqualValues(t, 1, f.calls.Load())
			p.waitQueue(0, 0)
		})
	}
}

// R2: what does not end as it should is cut for the client, too.
func TestR2CutAnswersOverHTTP2(t *testing.T) {
	for name, script := range map[string]func(*fconn2, uint32){
		"end of the connection": func(s *fconn2, _ uint32) { _ = s.Close() },
		"reset":                 func(s *fconn2, id uint32) { _ = s.fr.WriteRSTStream(id, http2.ErrCodeInternal) },
		"reset without error":   func(s *fconn2, id uint32) { _ = s.fr.WriteRSTStream(id, http2.ErrCodeNo) },
		"shorter than declared": func(s *fconn2, id uint32) { _ = s.fr.WriteData(id, true, nil) },
		"bad trailers":          func(s *fconn2, id uint32) { s.head(id, true, ":status", "200") },
	} {
		for _, length := range []bool{true, false} {
			if !length && name == "shorter than declared" {
				continue
			}
			t.Run(fmt.Sprint(name, length), func(t *testing.T) {
				f := newFunction2(t, "tcp", func(s *fconn2) {
					for {
						id := s.whole()
						if length {
							s.head(id, false, ":status", "200", "content-length", "10")
						} else {
							s.head(id, false, ":status", "200")
						}
						_ = s.fr.WriteData(id, false, []byte("12345"))
						script(s, id)
					}
				})
				p := newPod(t, overH2C(f))
				c := p.dial()
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if r, err := http.ReadResponse(c.r, nil); err == nil && r.StatusCode == 200 {
					c.requireCut(r)
					p.waitAborted(1)
				} else if err == nil {
					require.Equal(t, 502, r.StatusCode)
				}
				p.waitQueue(0, 0)
				c2 := p.dial2()
				id := c2.open(true, "GET", "/")
				if r := c2.receive(id); r.get(":status") == "200" {
					require.True(t, r.reset && !r.ended)
				}
			})
		}
	}
}

func TestFunctionsThatDoNotSpeakHTTP2(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		f := newFunction(t, "tcp", func(c *fconn) {
			c.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			c.wait()
		})
		c := newPod(t, overH2C(f)).dial()
		require.Equal(t, 502, c.get("/").code)
	})
	t.Run("nothing", func(t *testing.T) {
		f := newFunction(t, "tcp", func(c *fconn) { c.wait() })
		p := newPod(t, overH2C(f), func(s *setup) { s.AnswerTimeout = 100 * time.Millisecond })
		require.Equal(t, 504, p.dial().get("/").code)
		p.waitQueue(0, 0)
	})
}

// The end of a connection ends all of its requests, and no other.
func TestAFunctionOverHTTP2DiesWithManyRequests(t *testing.T) {
	die, let := gate(t)
	var conns atomic.Int64
	f := newFunction2(t, "tcp", func(s *fconn2) {
		first := conns.Add(1) == 1
		for {
			id := s.whole()
			if !first {
				s.head(id, true, ":status", "204")
			} else if s.f.calls.Load() == 11 {
				<-die
				return
			}
		}
	})
	warm := overH2C(f)
	p := newPod(t, warm)
	c := p.dial2()
	var ids []uint32
	for range 11 {
		ids = append(ids, c.open(true, "GET", "/"))
		p.waitQueue(len(ids), 0)
		eventually(t, func() bool { return int(f.calls.Load()) == len(ids) }, "it got them one by one")
	}
	let()
	for _, id := range ids {
		r := c.receive(id)
		require.Equal(t, "502", r.get(":status"), "%+v", r)
	}
	require.Equal(t, "204", c.get("/").get(":status"))
	require.EqualValues(t, 12, f.calls.Load())
}

func TestHTTP2ToAUnixSocketAndToOneThatStarts(t *testing.T) {
	f := newFunction2(t, "unix", func(s *fconn2) {
		for {
			s.head(s.whole(), true, ":status", "204")
		}
	})
	require.Equal(t, "204", newPod(t, overH2C(f)).dial2().get("/").get(":status"))

	address := unused(t)
	b := &proxy.HTTPBackend{Network: "tcp", Address: address, ConnectTimeout: 5 * time.Second, Protocol: proxy.ProtocolH2C}
	t.Cleanup(b.CloseIdle)
	p := newPod(t, b)
	c := p.dial2()
	id := c.open(true, "GET", "/")
	p.waitQueue(1, 0)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	serveH2C(t, ln, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	require.Equal(t, "204", c.receive(id).get(":status"))
}

// serveH2C serves HTTP/1.1 and HTTP/2 without TLS.
func serveH2C(t testing.TB, ln net.Listener, handle http.HandlerFunc) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	s := &http.Server{Handler: handle, Protocols: protocols}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
}

// counted counts what was read of a body.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// L9: an upload that the function does not take is held back at its client, and
// arrives whole when it does.
func TestL9UploadsOverHTTP2HaveBackPressure(t *testing.T) {
	const size = 64 << 20
	for _, protocol := range []string{proxy.ProtocolHTTP1, proxy.ProtocolH2C} {
		t.Run(protocol, func(t *testing.T) {
			release, let := gate(t)
			ln := listen(t, "tcp")
			serveH2C(t, ln, func(w http.ResponseWriter, r *http.Request) {
				<-release
				sum := sha256.New()
				if _, err := io.Copy(sum, r.Body); err == nil {
					_, _ = fmt.Fprintf(w, "%x", sum.Sum(nil))
				}
			})
			b := &proxy.HTTPBackend{Network: "tcp", Address: ln.Addr().String(), ConnectTimeout: time.Second, Protocol: protocol}
			t.Cleanup(b.CloseIdle)
			p := newPod(t, b)
			protocols := new(http.Protocols)
			protocols.SetUnencryptedHTTP2(true)
			transport := &http.Transport{Protocols: protocols}
			t.Cleanup(transport.CloseIdleConnections)
			whole := pattern(size)
			body := &counted{Reader: bytes.NewReader(whole)}
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.address+"/", body)
			require.NoError(t, err)
			answers := make(chan string, 1)
			go func() {
				r, err := transport.RoundTrip(request)
				if err != nil {
					answers <- err.Error()
					return
				}
				defer r.Body.Close()
				text, _ := io.ReadAll(r.Body)
				answers <- string(text)
			}()
			p.waitQueue(1, 0)
			before := int64(-1)
			eventually(t, func() bool { // it stands still
				defer time.Sleep(50 * time.Millisecond)
				now := body.n.Load()
				still := now == before && now > 0
				before = now
				return still
			}, "back-pressure")
			require.Less(t, body.n.Load(), int64(16<<20))
			let()
			require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(whole)), <-answers)
		})
	}
}
