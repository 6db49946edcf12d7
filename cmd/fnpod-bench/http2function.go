package main

import (
	"context"
	"io"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// http2FunctionCmd serves what the small server cannot: HTTP/1.1 and HTTP/2 without TLS by net/http, or gRPC.
type http2FunctionCmd struct {
	TCP  string `help:"Address to listen on."`
	GRPC bool   `name:"grpc" help:"Serve gRPC."`
}

// Run serves until standard input ends.
func (c *http2FunctionCmd) Run() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", c.TCP)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		if c.GRPC {
			failed <- echoServer().Serve(listener)
			return
		}
		failed <- pongServer().Serve(listener)
	}()
	return untilParentEnds(failed)
}

// pongServer answers with four bytes.
func pongServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // the load is ours
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "pong") // the client may have left
	})}
}

// echoServer answers with what it got.
func echoServer() *grpc.Server {
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: echoMethod, Handler: echo}},
	}, nil)
	return server
}

func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is gRPC's
	message := new(wrapperspb.BytesValue)
	return message, decode(message)
}
