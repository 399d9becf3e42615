"""gRPC over HTTP/2, on the event loop.

grpc.aio keeps its connections in threads of its own and hands calls over one at a time: two thirds of what a small prediction took. Here
everything that has arrived is read in one go, what it asks for runs in the same turn of the loop, and the answers leave together.

`frames`, `header_blocks`, `connection`, `stream_table` and `streams` are HTTP/2 (RFC 9113, RFC 7541); `metadata`, `messages`, `calls`,
`admission` and `server` are gRPC on top of it.
"""
