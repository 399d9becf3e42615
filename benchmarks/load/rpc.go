package main

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const anySize = 1<<31 - 1

// Raw is a codec that leaves messages as they are.
type Raw struct{}

func (Raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (Raw) Unmarshal(content []byte, message any) error {
	*message.(*[]byte) = content
	return nil
}

func (Raw) Name() string { return "proto" }

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

func connect(o Options) ([]*grpc.ClientConn, error) {
	connections := make([]*grpc.ClientConn, o.Connections)
	for n := range connections {
		connection, err := grpc.NewClient("passthrough:///"+o.Target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(Raw{}), grpc.MaxCallRecvMsgSize(anySize), grpc.MaxCallSendMsgSize(anySize)),
			// Every failure is to be seen.
			grpc.WithDisableRetry(),
			// Windows that grow with what a connection carries, as other clients have them.
			grpc.WithWriteBufferSize(1<<17), grpc.WithReadBufferSize(1<<17))
		if err != nil {
			return nil, err
		}
		connections[n] = connection
	}
	return connections, nil
}

func unaryCalls(o Options, requests Requests) (Call, error) {
	if len(requests.groups[0]) != 1 {
		return nil, fmt.Errorf("load: a unary request is one message")
	}
	connections, err := connect(o)
	return func(ctx context.Context, worker, request int) ([][]byte, error) {
		var answer []byte
		err := connections[worker%len(connections)].Invoke(ctx, o.Method, &requests.groups[request][0], &answer)
		return [][]byte{answer}, err
	}, err
}

// exchanges opens a stream for each request, sends its messages and takes meanwhile what comes back.
func exchanges(o Options, requests Requests) (Call, error) {
	connections, err := connect(o)
	return func(ctx context.Context, worker, request int) ([][]byte, error) {
		stream, err := connections[worker%len(connections)].NewStream(ctx, bothWays, o.Method)
		if err != nil {
			return nil, err
		}
		go func() {
			if send(stream, requests.preamble) && send(stream, requests.groups[request]) {
				_ = stream.CloseSend()
			}
		}()
		return drain(stream)
	}, err
}

// send says whether all was sent; if not, receiving tells why.
func send(stream grpc.ClientStream, messages [][]byte) bool {
	for n := range messages {
		if stream.SendMsg(&messages[n]) != nil {
			return false
		}
	}
	return true
}

func drain(stream grpc.ClientStream) ([][]byte, error) {
	var messages [][]byte
	for {
		var message []byte
		switch err := stream.RecvMsg(&message); err {
		case nil:
			messages = append(messages, message)
		case io.EOF:
			return messages, nil
		default:
			return messages, err
		}
	}
}
