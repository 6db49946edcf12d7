package knative

import "github.com/fnpod/fnpod/proxy"

// AnswerReady answers a probe that asks for readiness.
func AnswerReady(x *proxy.Exchange, ready bool) error {
	if !ready {
		x.Respond(503, 0)
		return x.Finish()
	}
	const body = "queue"
	x.Respond(200, int64(len(body)))
	if err := x.AddField([]byte("Content-Type"), []byte("text/plain; charset=utf-8")); err != nil {
		return err
	}
	if _, err := x.Write([]byte(body)); err != nil {
		return err
	}
	return x.Finish()
}
