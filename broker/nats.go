package broker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// NATSConfig is one subscription of NATS.
type NATSConfig struct {
	Server

	Name  string       // of the client, for the server's lists
	Token string       // in the place of a user and a password
	Topic string       // a subject, which may have the wildcards * and >
	Queue string       // of all subscribers with the same one, each message goes to one; empty: each gets all
	Roots *tls.Config  // for a server that demands TLS where Server.TLS is nil; nil: the system's
	Log   *slog.Logger // gets lost connections
}

// NATS is a subscription of NATS. The server keeps nothing: who takes no message loses it. So the connection is always read,
// and what finds no room in the Inbox is lost, and told. Create it with NewNATS.
type NATS struct {
	link

	config  NATSConfig
	servers []string // that may be asked, the configured one first
	turn    int
}

// NewNATS returns a subscription that is not connected yet.
func NewNATS(c NATSConfig) *NATS {
	return &NATS{link: newLink(c.Log), config: c, servers: []string{c.Address}}
}

// CheckTopic returns what is wrong with a subject that is subscribed to.
func (c *NATSConfig) CheckTopic() error {
	parts := strings.Split(c.Topic, ".")
	switch {
	case c.Topic == "":
		return errors.New("must be the name of a subject")
	case strings.ContainsFunc(c.Topic, notInName):
		return errors.New("must have no spaces")
	case slices.Contains(parts, ""):
		return errors.New("must have something between its dots")
	case slices.Contains(parts[:len(parts)-1], ">"):
		return errors.New("must have > at its end alone")
	}
	return nil
}

// CheckQueue returns what is wrong with the name of a queue.
func (c *NATSConfig) CheckQueue() error {
	if strings.ContainsFunc(c.Queue, notInName) {
		return errors.New("must have no spaces")
	}
	return nil
}

func notInName(c rune) bool { return c <= ' ' || c == 0x7f }

// Run receives messages into in until ctx ends. Then it unsubscribes, takes what was on its way, and closes in. An error
// means that it will never work.
func (n *NATS) Run(ctx context.Context, in *Inbox) error {
	defer in.Close()
	return n.keep(ctx, func(ctx context.Context) (bool, error) {
		address := n.servers[n.turn%len(n.servers)]
		s, err := n.connect(ctx, address)
		if err != nil {
			n.turn++
			return false, fmt.Errorf("%s: %w", address, err)
		}
		err = s.receive(ctx, in)
		n.turn++
		return s.granted, fmt.Errorf("%s: %w", address, err)
	})
}

// natsInfo is what a server says of itself, as far as we ask.
type natsInfo struct {
	TLSRequired  bool     `json:"tls_required"`
	TLSAvailable bool     `json:"tls_available"`
	Others       []string `json:"connect_urls"`
}

// natsSession is one connection.
type natsSession struct {
	*line

	nats    *NATS
	address string
	granted bool         // the server has taken the subscription
	asked   atomic.Int64 // PINGs that were sent
	last    atomic.Int64 // number of the one whose answer is the end; 0: there is none yet
}

// connect returns a connection that the server has accepted, with the subscription asked for.
func (n *NATS) connect(ctx context.Context, address string) (*natsSession, error) {
	l, err := dial(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	s := &natsSession{line: l, nats: n, address: address}
	defer l.cutBy(ctx)()
	if err := s.begin(ctx); err != nil {
		_ = l.Close() // the error is known
		return nil, err
	}
	return s, l.patient()
}

// begin says who we are and what we want.
func (s *natsSession) begin(ctx context.Context) error {
	f, err := readNATS(s.in, MaxMessage)
	if err != nil {
		return err
	}
	var info natsInfo
	if f.op != "INFO" || json.Unmarshal(f.text, &info) != nil {
		return fmt.Errorf("%w: the server does not begin with INFO", errNATS)
	}
	s.nats.learn(info)
	c := &s.nats.config
	secure := c.TLS
	switch {
	case secure != nil && !info.TLSRequired && !info.TLSAvailable:
		return fmt.Errorf("%w: the server has no TLS", ErrRefused)
	case secure == nil && info.TLSRequired:
		if secure = c.Roots; secure == nil {
			secure = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if secure != nil {
		if err := s.encrypt(ctx, s.address, secure); err != nil {
			return err
		}
	}
	hello, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "tls_required": secure != nil, "name": c.Name, "lang": "go", "version": "1", "protocol": 1,
		"headers": true, "user": c.User, "pass": c.Password, "auth_token": c.Token,
	})
	if err != nil {
		return err
	}
	if err := s.ask("CONNECT " + string(hello) + "\r\nPING\r\n"); err != nil {
		return err
	}
	if err := s.answered(); err != nil {
		return err
	}
	return s.ask("SUB " + strings.TrimSpace(c.Topic+" "+c.Queue) + " 1\r\nPING\r\n")
}

// learn takes the addresses of a cluster.
func (n *NATS) learn(info natsInfo) {
	n.servers = n.servers[:1]
	for _, other := range info.Others {
		if _, _, err := net.SplitHostPort(other); err == nil && !slices.Contains(n.servers, other) {
			n.servers = append(n.servers, other)
		}
	}
}

// ask sends text that ends with a PING, whose answer comes when the server has read all.
func (s *natsSession) ask(text string) error {
	s.asked.Add(1)
	return s.send([]byte(text))
}

// answered waits for the answer.
func (s *natsSession) answered() error {
	for {
		f, err := readNATS(s.in, MaxMessage)
		switch {
		case err != nil:
			return err
		case f.op == "PONG":
			return nil
		case f.op == "PING":
			if err := s.send([]byte("PONG\r\n")); err != nil {
				return err
			}
		case f.op == "-ERR":
			return refusal(f.text)
		}
	}
}

func refusal(text []byte) error {
	return fmt.Errorf("%w: %s", ErrRefused, strings.Trim(string(text), "'"))
}

// errUnsubscribed is the end of a session that was asked for.
var errUnsubscribed = errors.New("broker: unsubscribed")

// receive takes messages until the connection is lost, or ctx has ended and all that was on its way is here.
func (s *natsSession) receive(ctx context.Context, in *Inbox) error {
	return s.converse(func() error { return s.read(in) }, func(ended <-chan struct{}) { s.keepAlive(ctx, ended) })
}

func (s *natsSession) read(in *Inbox) error {
	pongs := int64(1) // the one that connect has had
	for {
		if err := s.SetReadDeadline(time.Now().Add(silentTime)); err != nil {
			return err
		}
		f, err := readNATS(s.in, MaxMessage)
		if err != nil {
			return err
		}
		switch f.op {
		case "MSG":
			if f.message == nil {
				in.lost(ErrTooLarge)
			} else {
				in.offer(f.message)
			}
		case "PING":
			if err := s.send([]byte("PONG\r\n")); err != nil {
				return err
			}
		case "PONG":
			if pongs++; pongs == s.last.Load() {
				return errUnsubscribed
			}
			if !s.granted {
				s.granted = true
				s.nats.subscribed()
				s.nats.log.Info("subscribed", "server", s.address, "topic", s.nats.config.Topic, "queue", s.nats.config.Queue)
			}
		case "INFO":
			var info natsInfo
			if json.Unmarshal(f.text, &info) == nil {
				s.nats.learn(info)
			}
		case "-ERR": // it hangs up, unless only a right is missing
			if !s.granted {
				return refusal(f.text)
			}
			s.nats.log.Warn("the broker complains", "text", strings.Trim(string(f.text), "'"))
		}
	}
}

// keepAlive asks the server again and again whether it is there, and unsubscribes at the end.
func (s *natsSession) keepAlive(ctx context.Context, ended <-chan struct{}) {
	t := time.NewTicker(pingTime)
	defer t.Stop()
	for {
		var err error
		select {
		case <-ended:
			return
		case <-t.C:
			err = s.ask("PING\r\n")
		case <-ctx.Done():
			s.last.Store(s.asked.Load() + 1)
			if err = s.ask("UNSUB 1\r\nPING\r\n"); err == nil {
				s.closeAfter(ended, writeTime)
				return
			}
		}
		if err != nil {
			_ = s.Close() // the reader notices
			return
		}
	}
}
