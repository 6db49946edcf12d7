// Package broker receives messages from brokers: NATS, and MQTT 3.1.1 and 3.1. It only subscribes, and knows nothing of
// functions: whoever works on messages takes them out of an Inbox.
//
//	message.go      one message, and the end of the work on it
//	inbox.go        messages between the connection and those who work on them, bounded
//	server.go       where a broker is, and how it is spoken to
//	link.go         a connection that is made again whenever it is lost
//	nats.go         a subscription of NATS
//	nats_wire.go    what a server of NATS says, as bytes
//	mqtt.go         subscriptions of MQTT
//	mqtt_wire.go    packets of MQTT, as bytes
//	mqtt_window.go  which of them the broker still waits to hear about
package broker
