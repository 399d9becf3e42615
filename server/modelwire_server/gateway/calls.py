"""Calling the methods of the contract, wherever they are: in this process (`inside`) or behind a port (`remote`)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

DETAILS_KEY = "grpc-status-details-bin"

# The messages of a call: one, or a stream of them.
Requests = Message | AsyncIterable[Message]


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes with a call: metadata, the seconds until its deadline, and who asks."""

    metadata: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    peer: str = ""


class CallFailed(Exception):
    """A call ended with a status; `status` has the details of the error, if it was told any."""

    def __init__(self, code: grpc.StatusCode, message: str, status: status_pb2.Status | None = None) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.status = status or status_pb2.Status(code=code.value[0], message=message)

    @classmethod
    def of(cls, code: grpc.StatusCode, message: str | None, trailer: Any) -> "CallFailed":
        """The failure that a status and its trailer tell of."""
        for key, value in trailer or ():
            if key == DETAILS_KEY:
                try:
                    return cls(code, message or "", status_pb2.Status.FromString(value))
                except DecodeError:
                    break
        return cls(code, message or "")


def code_of(number: int) -> grpc.StatusCode:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


class Calls(Protocol):
    """Both ways to call give up when the task that waits is canceled, and raise CallFailed if the call ends with an error.

    An error of the stream of requests ends the call, and is raised."""

    async def unary(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> Message:
        """One answer."""
        ...

    def stream(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> AsyncGenerator[Message, None]:
        """A stream of answers; closing it ends the call."""
        ...


class Sent:
    """A stream of requests on its way. An error in it ends the call, and is kept, to be raised where the answer is awaited."""

    def __init__(self, requests: AsyncIterable[Message]) -> None:
        self._requests = requests
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncGenerator[Message, None]:
        try:
            async for request in self._requests:
                yield request
        except Exception as error:
            self.error = error
            raise asyncio.CancelledError from None
