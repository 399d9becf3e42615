"""What is asked of a server: requests as bytes, and how to read the answers."""

import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import grpc

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Mode = Literal["unary", "stream", "exchange", "post"]


class WrongAnswerError(Exception):
    """A server predicted something else than the model does."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Requests for one method of one server.

    `messages` are requests of one message each, or, if `whole`, one request of many messages (a stream). `preamble` goes first on
    every stream. `read` takes the classes out of an answer, all its messages one after the other; `expected` has those of each request.
    """

    mode: Mode
    target: str
    method: str = ""
    content_type: str = "application/json"
    messages: Sequence[bytes] = field(repr=False)
    expected: Sequence[list[int]] = field(repr=False)
    read: Callable[[bytes], list[int]]
    preamble: Sequence[bytes] = field(default=(), repr=False)
    whole: bool = False
    # Further options of the load generator.
    options: tuple[str, ...] = ()

    def check(self, answers: dict[int, bytes]) -> None:
        """Raises WrongAnswerError if an answer is not what the model says about its request."""
        for number, answer in answers.items():
            if (found := self.read(answer)) != self.expected[number]:
                raise WrongAnswerError(f"request {number} was answered with {found[:5]}, not with {self.expected[number][:5]}")


def ask(work: Work, timeout: float = 60) -> None:
    """Sends every request once, from here, and checks the answers. Raises WrongAnswerError, OSError, grpc.RpcError."""
    if work.mode == "post":
        work.check({number: _post(work, message, timeout) for number, message in enumerate(work.messages)})
        return
    with grpc.insecure_channel(work.target, ANY_SIZE) as channel:
        if work.mode == "unary":
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(work.method)
            work.check({number: call(message, timeout=timeout) for number, message in enumerate(work.messages)})
        elif work.whole:
            work.check({0: _exchange(channel, work, work.messages, timeout)})
        else:
            work.check({number: _exchange(channel, work, [message], timeout) for number, message in enumerate(work.messages)})


def _exchange(channel: grpc.Channel, work: Work, messages: Sequence[bytes], timeout: float) -> bytes:
    call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(work.method)
    return b"".join(call(iter([*work.preamble, *messages]), timeout=timeout))


def _post(work: Work, message: bytes, timeout: float) -> bytes:
    request = urllib.request.Request(work.target, message, {"Content-Type": work.content_type})  # noqa: S310
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content
