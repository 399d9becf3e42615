"""Calls of a server elsewhere, over gRPC."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from .calls import CallFailed, Requests, Sending, Sent
from .methods import call_path


class RemoteCalls:
    """Calls over a channel, which stays the caller's to close."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stubs: dict[str, Any] = {}

    async def unary(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> Message:
        call, sent = self._begin(rpc, requests, sending)
        try:
            return cast("Message", await call)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            raise _failure(error, sent) from None
        finally:
            call.cancel()

    async def stream(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> AsyncGenerator[Message, None]:
        call, sent = self._begin(rpc, requests, sending)
        try:
            async for message in call:
                yield message
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            raise _failure(error, sent) from None
        finally:
            call.cancel()

    def _begin(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> tuple[Any, Sent | None]:
        stub = self._stubs.get(rpc.full_name) or self._stub(rpc)
        sent = None if isinstance(requests, Message) else Sent(requests)
        given = requests if sent is None else aiter(sent)
        return stub(given, timeout=sending.timeout, metadata=sending.metadata), sent

    def _stub(self, rpc: MethodDescriptor) -> Any:
        words = {False: "unary", True: "stream"}
        make = getattr(self._channel, f"{words[rpc.client_streaming]}_{words[rpc.server_streaming]}")
        answer = GetMessageClass(rpc.output_type)
        stub = make(call_path(rpc), request_serializer=_serialize, response_deserializer=answer.FromString)
        self._stubs[rpc.full_name] = stub
        return stub


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _failure(error: BaseException, sent: Sent | None) -> BaseException:
    """Why a call failed: its stream of requests first, since that ends the call."""
    if sent is not None and sent.error is not None:
        return sent.error
    if isinstance(error, grpc.aio.AioRpcError):
        return CallFailed.of(error.code(), error.details(), error.trailing_metadata())
    return error
