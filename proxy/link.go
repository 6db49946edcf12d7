package proxy

import (
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
)

// link is where a request comes from and its answer goes to: what a connection
// and a stream of HTTP/2 have in common.
type link struct {
	srv    *Server
	shard  *metrics.Shard
	peer   string // address without port
	scheme string
	id     uint64 // of the connection
	slot   int    // in the sweeper
	guard  guard
	client client

	// The rest belongs to the goroutine that serves the request.
	requests uint64  // ids given
	stream   *stream // nil on a connection of HTTP/1
	aborted  bool    // the answer was cut: the client must not take it for whole
}

// init connects the parts of a new link.
func (l *link) init(s *Server, o owner) {
	l.srv = s
	l.guard.srv, l.guard.owner = s, o
	l.guard.due.Store(never)
}

// owner is whose time a guard watches.
type owner interface {
	// watch arranges that the guard is told when the client ends its side. Called under its mu, as unblock and wake are.
	watch()
	// unblock ends whatever waits for the client, wake only what waits for more of it; clearDeadlines undoes both where
	// that is possible.
	unblock()
	wake()
	clearDeadlines()
	// kill ends the link without regard to what is in flight.
	kill()
}

// client is the client's end of a link that carries a request.
type client interface {
	// read reads bytes of a request's body until the deadline, of which there may be none.
	read(p []byte) (int, error)
	setReadDeadline(d time.Duration) error
	// stopReading makes read return; clearReadDeadline undoes it where that is possible.
	stopReading()
	clearReadDeadline()

	// write sends p whole. It waits for a slow client, not longer than WriteTimeout without progress.
	write(p []byte) error
	// interim sends an interim answer.
	interim(status int, fields []http1.Field) error
	// abort makes sure that the answer on its way does not look whole.
	abort()
}

// abort cuts the answer so that it cannot look whole.
func (l *link) abort() {
	l.client.abort()
	l.aborted = true
}
