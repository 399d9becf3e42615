"""A client of HTTP/2 that does what a test tells it, right or wrong; and what tests of the server share.

Frames are made and read by hyperframe, header blocks by hpack: nothing here is the server's.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec

import grpc
import grpc_serving
import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from modelwire_server.http2.connection import Connection
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import GrpcServer, ServerRules
from modelwire_server.ports import grpc_listeners

P = ParamSpec("P")
Fields = list[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, _, ENHANCE_YOUR_CALM = range(5, 12)
SERVICE = "test.v1.Test"
PATIENCE = 60.0
LARGEST_WINDOW = 2**31 - 1


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs a test on a loop of its own; it fails if it hangs, or if an error comes up that nobody took."""

    @wraps(test)
    def run(*args: P.args, **options: P.kwargs) -> None:
        faults: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            async with asyncio.timeout(PATIENCE):
                await test(*args, **options)

        asyncio.run(main())
        assert faults == [], faults

    return run


async def until(holds: Callable[[], Any]) -> None:
    """Lets the loop go on until something that is not told to anybody has come about."""
    while not holds():  # noqa: ASYNC110 there is no event
        await asyncio.sleep(0.001)


# Methods


async def echo(message: bytes, context: Any) -> bytes:
    return message


async def count(messages: Any, context: Any) -> bytes:
    return str(sum([len(message) async for message in messages])).encode()


async def repeat(message: bytes, context: Any) -> AsyncIterator[bytes]:
    """As many answers as the message says, each of so many bytes: `3 100`."""
    number, size = map(int, message.split())
    for _ in range(number):
        yield bytes(size)


async def chat(messages: Any, context: Any) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message


USUAL = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Count": grpc.stream_unary_rpc_method_handler(count),
    "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}


def unary(behave: Callable[[bytes, Any], Awaitable[Any]]) -> Any:
    return grpc.unary_unary_rpc_method_handler(behave)


class Waiting:
    """Methods that wait until the test says so. `begun` and `canceled` count their calls."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.canceled = 0

    async def wait(self) -> None:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise

    async def hold(self, message: bytes, context: Any) -> bytes:
        await self.wait()
        return message

    async def keep(self, messages: Any, context: Any) -> AsyncIterator[bytes]:
        """Answers at the beginning, and reads nothing before it is told to."""
        yield b"begun"
        await self.wait()
        async for one in messages:
            yield one

    @property
    def methods(self) -> dict[str, Any]:
        return {"Hold": unary(self.hold), "Keep": grpc.stream_stream_rpc_method_handler(self.keep)}


@asynccontextmanager
async def serving(
    rules: ServerRules | ConnectionRules | None = None, *, seconds: float = 0, **handlers: Any
) -> AsyncIterator[GrpcServer]:
    """The usual methods, and those that are given."""
    whole = ServerRules(connection=rules) if isinstance(rules, ConnectionRules) else rules
    find = grpc_serving.methods(SERVICE, {**USUAL, **handlers})
    async with grpc_serving.serving(find, whole, seconds=seconds) as server:
        yield server


@asynccontextmanager
async def serving_narrowly(rules: ServerRules, **handlers: Any) -> AsyncIterator[GrpcServer]:
    """A server whose sockets hold hardly anything, so that it notices soon when a peer does not read."""
    listeners = grpc_listeners("127.0.0.1", 0, share=False)
    for listener in listeners:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = GrpcServer(grpc_serving.methods(SERVICE, {**USUAL, **handlers}), listeners, rules)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


def the_connection(server: GrpcServer) -> Connection:
    (connection,) = server._connections
    return connection


# The peer


def message(content: bytes, is_compressed: int = 0) -> bytes:
    return struct.pack(">BI", is_compressed, len(content)) + content


def split(data: bytes) -> list[bytes]:
    """The messages in the content of a stream."""
    found = []
    while data:
        is_compressed, length = struct.unpack(">BI", data[:5])
        assert not is_compressed
        assert len(data) >= 5 + length
        found.append(data[5 : 5 + length])
        data = data[5 + length :]
    return found


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame as it never was, if need be."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(**values: int) -> SettingsFrame:
    return SettingsFrame(0, settings={getattr(SettingsFrame, name.upper()): value for name, value in values.items()})


def window_update(stream: int, more: int) -> WindowUpdateFrame:
    return WindowUpdateFrame(stream, window_increment=more)


def data(stream: int, content: bytes, *flags: str) -> DataFrame:
    return DataFrame(stream, content, flags=flags)


def request(path: str = "Echo", *more: tuple[str, str], **changed: str) -> Fields:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path if path.startswith("/") else f"/{SERVICE}/{path}",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [*fields.items(), *more]


@dataclass
class Answer:
    """What came on a stream. `code` is that of RST_STREAM."""

    blocks: list[Fields] = field(default_factory=list)
    data: bytes = b""
    frames: list[int] = field(default_factory=list)
    is_ended: bool = False
    code: int | None = None

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.code is not None

    @property
    def head(self) -> dict[str, str]:
        return dict(self.blocks[0])

    @property
    def trailer(self) -> dict[str, str]:
        return dict(self.blocks[-1])

    @property
    def status(self) -> int:
        assert self.is_ended, self
        return int(self.trailer["grpc-status"])

    @property
    def messages(self) -> list[bytes]:
        return split(self.data)


class Peer:
    """`heard` are the frames that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._block: list[bytes] = []
        self._ends_stream = False
        self._last = -1
        self.encoder = hpack.Encoder()
        self.heard: list[Frame] = []
        self.answers: dict[int, Answer] = {}

    # What is sent

    def send(self, *frames: Frame | bytes) -> None:
        self._writer.write(b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames))

    async def sent(self) -> None:
        await self._writer.drain()

    def greet(self, **values: int) -> None:
        self.send(PREFACE, settings(**values))

    def next_stream(self) -> int:
        self._last += 2
        return self._last

    def headers(self, stream: int, fields: Fields, *flags: str) -> HeadersFrame:
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags or ("END_HEADERS",))

    def open(self, fields: Fields | str = "Echo", *pieces: bytes, end: bool = False) -> int:
        """Begins a call; returns its stream."""
        stream = self.next_stream()
        self.send(self.headers(stream, request(fields) if isinstance(fields, str) else fields))
        self.send(*(data(stream, piece) for piece in pieces))
        if end:
            self.end(stream)
        return stream

    def end(self, stream: int) -> None:
        self.send(data(stream, b"", "END_STREAM"))

    def call(self, fields: Fields | str = "Echo", content: bytes = b"hello") -> int:
        """A whole request of one message; returns its stream."""
        return self.open(fields, message(content), end=True)

    # What comes

    async def next(self) -> Frame:
        """Raises IncompleteReadError when the connection is over."""
        head = await self._reader.readexactly(9)
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        self.heard.append(frame)
        if frame.stream_id:
            self._note(frame)
        return frame

    def _note(self, frame: Frame) -> None:
        answer = self.answers.setdefault(frame.stream_id, Answer())
        if isinstance(frame, DataFrame):
            assert answer.blocks, "DATA before HEADERS"
            assert not answer.is_ended, "DATA after the end"
            answer.data += frame.data
            answer.frames.append(len(frame.data))
            answer.is_ended = "END_STREAM" in frame.flags
        elif isinstance(frame, HeadersFrame | ContinuationFrame):
            self._note_headers(answer, frame)
        elif isinstance(frame, RstStreamFrame):
            answer.code = frame.error_code

    def _note_headers(self, answer: Answer, frame: Frame) -> None:
        assert not answer.is_ended, "HEADERS after the end"
        if isinstance(frame, HeadersFrame):
            self._ends_stream = "END_STREAM" in frame.flags
            assert self._ends_stream or not answer.blocks, "HEADERS between the first and the last"
        self._block.append(frame.data)
        if "END_HEADERS" in frame.flags:
            answer.blocks.append(list(self._decoder.decode(b"".join(self._block))))
            answer.is_ended = self._ends_stream
            self._block.clear()

    async def first(self, kind: type[Frame], holds: Callable[[Any], bool] = lambda _: True) -> Any:
        """The next frame of that kind."""
        while True:
            frame = await self.next()
            if isinstance(frame, kind) and holds(frame):
                return frame

    async def answer(self, stream: int) -> Answer:
        """Once it is complete."""
        while stream not in self.answers or not self.answers[stream].is_over:
            await self.next()
        return self.answers[stream]

    async def barrier(self, turns: int = 3) -> None:
        """Until the server has read all that was sent, and done what it does at once."""
        for _ in range(turns):
            self.send(settings())
            await self.first(SettingsFrame, lambda frame: "ACK" in frame.flags)

    async def pong(self) -> None:
        self.send(PingFrame(0, b"whatever"))
        await self.first(PingFrame, lambda frame: "ACK" in frame.flags)

    async def leaving(self) -> PingFrame:
        """Takes note that the server leaves, and lets it know."""
        ping: PingFrame = await self.first(PingFrame, lambda frame: "ACK" not in frame.flags)
        self.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
        return ping

    async def rest(self) -> bytes:
        """All that still comes, as it is."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def end_of_connection(self) -> GoAwayFrame | None:
        """What the server says at the end, if it says anything."""
        try:
            while True:
                await self.next()
        except (asyncio.IncompleteReadError, ConnectionError):
            farewells = [frame for frame in self.heard if isinstance(frame, GoAwayFrame)]
            return farewells[-1] if farewells else None

    async def fault(self) -> int | None:
        """Why the server ends the connection."""
        farewell = await self.end_of_connection()
        return None if farewell is None else farewell.error_code

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # the server was first
            await self._writer.wait_closed()


def granted(peer: Peer, stream: int) -> int:
    """How much more the server has allowed."""
    updates = [frame for frame in peer.heard if isinstance(frame, WindowUpdateFrame) and frame.stream_id == stream]
    return sum(frame.window_increment for frame in updates)


@asynccontextmanager
async def connected(server: GrpcServer, *, greet: bool = True, **values: int) -> AsyncIterator[Peer]:
    """`values` are settings."""
    peer = Peer(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        if greet:
            peer.greet(**values)
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def deaf(server: GrpcServer) -> AsyncIterator[Peer]:
    """A peer that reads nothing, and whose socket takes hardly anything."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1)
    peer = Peer(reader, writer)
    peer.greet()
    try:
        yield peer
    finally:
        writer.transport.abort()
        await peer.close()
