// Package proxy is the path of a request: it reads HTTP from clients, waits
// for a slot of the queue, lets a Backend run the request and writes the answer.
//
// The life of a request, in the order of the code:
//
//	server.go    accept a connection, give it a goroutine, drain at the end
//	admit.go     how many connections there may be
//	link.go      what a connection and a stream of HTTP/2 have in common
//	conn.go      wait for bytes without a buffer, read one request, hand it on
//	sleep_linux.go  connections whose requests are far apart wait without a goroutine
//	tls.go       the same above TLS
//	body.go      small bodies are read before queueing, larger ones streamed
//	http2_session.go  a connection of HTTP/2: frames in and out, windows; http2_stream.go one of its
//	             streams, http2_fields.go its heads; the same for clients and functions
//	http2.go     such a connection of a client; flood.go ends floods of frames, h2c.go begins one by Upgrade
//	stream.go    one request of such a connection: checked like any other, then the same path
//	grpc.go      refusals and deadlines as clients of gRPC know them
//	exchange.go  one request and its answer, as a Backend sees them
//	run.go       queue, run, release: each step one short call
//	deadline.go  how long the client waits, and what the function is told of it
//	classify.go  whose turn it is: class and key of a request
//	upstream.go  Backend over HTTP/1.1: TCP or unix socket, with our own pool; upstream_http2.go over HTTP/2
//	tunnel.go    a WebSocket, once the function has agreed; websocket.go finds the ends of its frames
//	forward.go   what is added to and taken from a request on its way
//	answer.go    the answer's head, framing and bytes
//	hooks.go     what a platform adds
//	limits.go    a refusal names the limit that was hit
//	errors.go    the only place where an error becomes a status code
//	guard.go     time-outs, clients that leave, interruption
//	listener_linux.go  the end of accepting, without a reset for who is in line
//	sweeper.go   looks at guards when they are due; no timer per request
//
// Request code is written in blocking style against the two halves of a socket
// in socket_linux.go.
package proxy
