package nuclio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/template"

	"github.com/fnpod/fnpod/broker"
)

// defaultQueue is the group of subscribers that the pods of a function are, unless the trigger names another.
const defaultQueue = "{{.Namespace}}.{{.Name}}-{{.Id}}"

// nats reads a nats trigger.
func (s *Settings) nats(src *Source, t Trigger) error {
	c := &broker.NATSConfig{Name: s.Metadata.Name}
	u, err := src.server(&c.Server, t, t.URL, map[string]bool{"nats": false, "tls": true}, "4222", "4222")
	if err != nil {
		return err
	}
	if u.User != nil && t.Username == "" {
		if _, both := u.User.Password(); !both {
			c.Token, c.User = c.User, ""
		}
	}
	if c.Topic, err = t.Attributes.Text("topic"); err != nil {
		return err
	}
	if err := c.CheckTopic(); err != nil {
		return fmt.Errorf("attribute topic %q: %w", c.Topic, err)
	}
	name, err := t.Attributes.Text("queueName")
	if err != nil {
		return err
	}
	if name == "" {
		name = defaultQueue
	}
	if c.Queue, err = s.named(name, src.Name); err != nil {
		return fmt.Errorf("attribute queueName %q: %w", name, err)
	}
	if err := c.CheckQueue(); err != nil {
		return fmt.Errorf("attribute queueName %q, which is %q: %w", name, c.Queue, err)
	}
	if c.TLS == nil {
		if c.Roots, err = t.Attributes.secure(); err != nil {
			return err
		}
	}
	src.NATS = c
	return nil
}

// named fills a template with what is known of the function and a trigger.
func (s *Settings) named(text, trigger string) (string, error) {
	t, err := template.New("name").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Namespace": s.Metadata.Namespace, "Name": s.Metadata.Name, "Id": strings.ReplaceAll(trigger, " ", "_"),
		"Labels": s.Metadata.Labels, "Annotations": s.Metadata.Annotations,
	})
	return b.String(), err
}

// mqtt reads an mqtt trigger.
func (*Settings) mqtt(src *Source, t Trigger) error {
	c := &broker.MQTTConfig{Clean: true}
	const plain = "tcp://"
	address := t.URL
	bare := address != "" && !strings.Contains(address, "://")
	if bare { // as the documentation of the original has it
		address = plain + address
	}
	_, err := src.server(&c.Server, t, address, map[string]bool{
		"tcp": false, "mqtt": false, "ssl": true, "tls": true, "mqtts": true, "mqtt+ssl": true, "tcps": true,
	}, "1883", "8883")
	if err != nil {
		return err
	}
	if bare {
		src.Address = strings.TrimPrefix(src.Address, plain)
	}
	if c.ClientID, err = t.Attributes.Text("clientID"); err != nil {
		return err
	}
	version, err := t.Attributes.number("protocolVersion", 0)
	switch {
	case err != nil:
		return err
	case version == 0 || version == 4:
		c.Version = 4
	case version == 3:
		c.Version = 3
	default:
		return fmt.Errorf("attribute protocolVersion %d: allowed are 3 (MQTT 3.1) and 4 (3.1.1)", version)
	}
	if t.Attributes.value("cleanSession") != nil {
		if c.Clean, err = t.Attributes.flag("cleanSession"); err != nil {
			return err
		}
	}
	if c.ClientID == "" && (!c.Clean || c.Version == 3) {
		return errors.New("attribute clientID: is needed with cleanSession false, and with protocolVersion 3")
	}
	if err := c.Check(); err != nil {
		return err
	}
	if c.Subscriptions, err = t.Attributes.subscriptions(); err != nil {
		return err
	}
	src.MQTT = c
	return nil
}

// subscriptions reads the topics of an mqtt trigger.
func (a Attributes) subscriptions() (all []broker.Subscription, err error) {
	list, ok := a.value("subscriptions").([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("attribute subscriptions: must be a list of topic and qos")
	}
	for i, item := range list {
		one, err := Attributes{"subscription": item}.part("subscription")
		if err != nil {
			return nil, fmt.Errorf("attribute subscriptions: number %d has no topic", i+1)
		}
		var s broker.Subscription
		if s.Topic, err = one.Text("topic"); err != nil {
			return nil, fmt.Errorf("attribute subscriptions: number %d: %w", i+1, err)
		}
		qos, err := one.number("qos", 0)
		if err != nil || qos < 0 || qos > 2 {
			return nil, fmt.Errorf("attribute subscriptions: %q: qos: allowed are 0, 1 and 2", s.Topic)
		}
		s.QoS = byte(qos)
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("attribute subscriptions: %q: %w", s.Topic, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// server reads where a broker is, by the schemes of its URL; those that are true mean TLS.
func (src *Source) server(to *broker.Server, t Trigger, address string, schemes map[string]bool, port, securePort string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("url: %w", errors.Unwrap(err)) // which would show the password
	}
	secure, known := schemes[u.Scheme]
	if !known || u.Hostname() == "" {
		return nil, fmt.Errorf("url %q: must be SCHEME://HOST:PORT with one of the schemes %s", u.Redacted(), strings.Join(slices.Sorted(maps.Keys(schemes)), ", "))
	}
	if secure {
		port = securePort
		if to.TLS, err = t.Attributes.secure(); err != nil {
			return nil, err
		}
	}
	if u.Port() != "" {
		port = u.Port()
	}
	to.Address = net.JoinHostPort(u.Hostname(), port)
	to.User, to.Password = t.Username, t.Password
	if to.User == "" && u.User != nil {
		to.User = u.User.Username()
		to.Password, _ = u.User.Password()
	}
	if to.Password != "" && to.User == "" {
		return nil, errors.New("password: needs a username")
	}
	src.Address = u.Redacted()
	return u, nil
}

// secure reads whom TLS trusts, and who we are: without attributes the roots of the system, and nobody.
func (a Attributes) secure() (*tls.Config, error) {
	var files [3]string
	for i, name := range []string{"caFile", "certFile", "keyFile"} {
		var err error
		if files[i], err = a.Text(name); err != nil {
			return nil, err
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if files[0] != "" {
		text, err := os.ReadFile(files[0])
		if err != nil {
			return nil, fmt.Errorf("attribute caFile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("attribute caFile %q: has no certificate", files[0])
		}
	}
	if files[1] == "" && files[2] == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(files[1], files[2])
	if err != nil {
		return nil, fmt.Errorf("attributes certFile and keyFile: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
