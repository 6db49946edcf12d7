package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// MQTTConfig are the subscriptions of one client.
type MQTTConfig struct {
	Server

	ClientID string
	Version  byte // 4 is MQTT 3.1.1, 3 is 3.1
	// Clean says that the broker forgets us with the connection. Else it keeps what is not acknowledged, and what is
	// published while we are away, under the ClientID.
	Clean         bool
	Subscriptions []Subscription
	Log           *slog.Logger // gets lost connections
}

// Subscription is what is asked for.
type Subscription struct {
	Topic string // which may have the wildcards + and #
	QoS   byte   // 0: a message may be lost; 1: it comes at least once; 2: exactly once, as long as this process lives
}

// Check returns what is wrong with a subscription.
func (s Subscription) Check() error {
	switch {
	case s.Topic == "" || len(s.Topic) > 65535 || !utf8.ValidString(s.Topic) || strings.ContainsRune(s.Topic, 0):
		return errors.New("topic: must be text of 1 to 65535 bytes")
	case s.QoS > 2:
		return errors.New("qos: allowed are 0, 1 and 2")
	}
	levels := strings.Split(s.Topic, "/")
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && i < len(levels)-1 {
			return errors.New("topic: + stands for one level, and # for the rest")
		}
	}
	return nil
}

// Check returns what is wrong with the names.
func (c *MQTTConfig) Check() error {
	for name, text := range map[string]string{"clientID": c.ClientID, "username": c.User, "password": c.Password} {
		if len(text) > 65535 || name != "password" && (!utf8.ValidString(text) || strings.ContainsRune(text, 0)) {
			return fmt.Errorf("%s: must be text of at most 65535 bytes", name)
		}
	}
	return nil
}

// MQTT are the subscriptions of one client. Messages of quality 1 and 2 are acknowledged when they have been handled, in
// their order, and not read while there is no room for them; those of quality 0 are lost then, and told. Create it with
// NewMQTT.
type MQTT struct {
	link

	config MQTTConfig
	window *window
	known  bool // the broker knows what we want, if it has kept our session
}

// NewMQTT returns subscriptions that are not connected yet.
func NewMQTT(c MQTTConfig) *MQTT {
	return &MQTT{link: newLink(c.Log), config: c, window: newWindow()}
}

// Run receives messages into in until ctx ends. Then it lets no more come, closes in, and stays connected until all that
// were taken are acknowledged. An error means that it will never work.
func (m *MQTT) Run(ctx context.Context, in *Inbox) error {
	defer in.Close()
	return m.keep(ctx, func(ctx context.Context) (bool, error) {
		s, err := m.connect(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", m.config.Address, err)
		}
		err = s.receive(ctx, in)
		return s.granted, fmt.Errorf("%s: %w", m.config.Address, err)
	})
}

// mqttSession is one connection.
type mqttSession struct {
	*line

	mqtt    *MQTT
	granted bool          // the broker has taken the subscriptions
	full    atomic.Bool   // no more messages are taken: the end
	over    chan struct{} // closed when the broker will send no more messages, at the end
	once    sync.Once     // around that
}

// reasons are those for which a broker lets nobody in (section 3.2.2.3).
var reasons = []string{"", "it does not speak this version of MQTT", "it does not allow this clientId", "it is not available", "user or password is wrong", "not authorized"}

// connect returns a connection that the broker has accepted, with the subscriptions asked for.
func (m *MQTT) connect(ctx context.Context) (*mqttSession, error) {
	l, err := dial(ctx, m.config.Address, m.config.TLS)
	if err != nil {
		return nil, err
	}
	s := &mqttSession{line: l, mqtt: m, over: make(chan struct{})}
	defer l.cutBy(ctx)()
	if err := s.begin(); err != nil {
		_ = l.Close() // the error is known
		return nil, err
	}
	return s, l.patient()
}

// begin says who we are and what we want.
func (s *mqttSession) begin() error {
	m := s.mqtt
	if err := s.send(connectPacket(&m.config)); err != nil {
		return err
	}
	p, err := readMQTT(s.in, 0)
	switch {
	case err != nil:
		return err
	case p.kind != packetConnack:
		return fmt.Errorf("%w: the broker does not begin with CONNACK", errMQTT)
	}
	switch code := int(p.codes[1]); {
	case code == 3:
		return errors.New("the broker is not available")
	case code >= len(reasons):
		return fmt.Errorf("%w: reason %d", ErrRefused, code)
	case code > 0:
		return fmt.Errorf("%w: %s", ErrRefused, reasons[code])
	}
	kept := p.codes[0]&1 != 0 && !m.config.Clean
	m.window.open(func(packet []byte) {
		if s.send(packet) != nil {
			_ = s.Close() // the reader notices
		}
	}, kept)
	if kept && m.known {
		s.granted = true
		m.subscribed()
		return nil
	}
	return s.send(subscribePacket(m.config.Subscriptions))
}

// receive takes messages until the connection is lost, or ctx has ended and all of them are acknowledged.
func (s *mqttSession) receive(ctx context.Context, in *Inbox) error {
	return s.converse(func() error { return s.read(ctx, in) }, func(ended <-chan struct{}) { s.keepAlive(ctx, in, ended) })
}

func (s *mqttSession) read(ctx context.Context, in *Inbox) error {
	defer s.mqtt.window.close()
	for {
		if err := s.SetReadDeadline(time.Now().Add(silentTime)); err != nil {
			return err
		}
		p, err := readMQTT(s.in, MaxMessage)
		if err != nil {
			return err
		}
		switch p.kind {
		case packetPublish:
			s.message(ctx, in, &p)
		case packetPubrel:
			s.mqtt.window.release(p.id)
		case packetSuback:
			if err := s.taken(p.codes); err != nil {
				return err
			}
		case packetUnsuback:
			s.once.Do(func() { close(s.over) })
		case packetConnack:
			return fmt.Errorf("%w: a second CONNACK", errMQTT)
		}
	}
}

// taken reads what the broker says about the subscriptions (section 3.9).
func (s *mqttSession) taken(codes []byte) error {
	m := s.mqtt
	if len(codes) != len(m.config.Subscriptions) {
		return fmt.Errorf("%w: %d answers to %d subscriptions", errMQTT, len(codes), len(m.config.Subscriptions))
	}
	for i, code := range codes {
		asked := m.config.Subscriptions[i]
		switch {
		case code > 2:
			return fmt.Errorf("%w: the subscription of %q", ErrRefused, asked.Topic)
		case code < asked.QoS:
			m.log.Warn("the broker gives less than was asked for", "topic", asked.Topic, "qos", int(code), "asked", int(asked.QoS))
		}
	}
	s.granted, m.known = true, true
	m.subscribed()
	m.log.Info("subscribed", "server", m.config.Address, "client_id", m.config.ClientID, "clean", m.config.Clean)
	return nil
}

// message takes one message. One that is too large is acknowledged without being handled: else it would come for ever.
func (s *mqttSession) message(ctx context.Context, in *Inbox, p *mqttPacket) {
	msg := &Message{ID: strconv.Itoa(int(p.id)), Topic: p.topic, Body: p.body, Kept: p.qos > 0}
	if p.qos == 0 {
		if p.large {
			in.lost(ErrTooLarge)
		} else {
			in.offer(msg)
		}
		return
	}
	if s.full.Load() && !s.mqtt.config.Clean {
		return // the next one who connects gets it
	}
	w := s.mqtt.window
	h, fresh := w.arrive(p.id, p.qos, p.again)
	switch {
	case p.large:
		in.lost(ErrTooLarge)
		w.handle(h)
	case fresh:
		msg.settle = func() { w.handle(h) }
		in.put(ctx, msg)
	}
}

// keepAlive tells the broker again and again that we are there, and says goodbye at the end.
func (s *mqttSession) keepAlive(ctx context.Context, in *Inbox, ended <-chan struct{}) {
	t := time.NewTicker(pingTime)
	defer t.Stop()
	done, over := ctx.Done(), (<-chan struct{})(nil)
	for {
		var err error
		select {
		case <-ended:
			return
		case <-t.C:
			err = s.send([]byte{packetPingreq, 0})
		case <-done:
			done = nil
			over, err = s.leave()
		case <-over:
			over = nil
			in.Close()
		case <-in.idle:
			_ = s.send([]byte{packetDisconnect, 0}) // all that matters was sent before
			s.hangUp(ended)
			return
		}
		if err != nil {
			_ = s.Close() // the reader notices
			return
		}
	}
}

// leave lets no more messages come, and returns a channel that is closed when none will. A session that the broker keeps
// stays subscribed: what is published from now on is for the next who connects.
func (s *mqttSession) leave() (<-chan struct{}, error) {
	if s.mqtt.config.Clean {
		return s.over, s.send(unsubscribePacket(s.mqtt.config.Subscriptions))
	}
	s.full.Store(true)
	s.once.Do(func() { close(s.over) })
	return s.over, nil
}
