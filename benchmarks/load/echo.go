package main

import (
	"io"
	"net"

	"google.golang.org/grpc"
)

// serveEcho answers every message on every method with itself.
func serveEcho(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodec(Raw{}), grpc.UnknownServiceHandler(echo), grpc.MaxRecvMsgSize(anySize))
	return server.Serve(listener)
}

func echo(_ any, stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}
