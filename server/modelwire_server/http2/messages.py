"""Messages of gRPC in the content of a stream: each behind a byte that says whether it is compressed, and its length in four."""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

PREFIX_SIZE = 5
# What a message takes beside its content.
_OVERHEAD = 64
_SMALL_PIECE = 4 << 10
# Memory of the C library begins at an address that this divides.
_ALIGNMENT = 16
ENCODINGS = ("identity", "deflate", "gzip")
# For zlib: what of the formats it reads.
_WINDOW_BITS = {"deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}


class BadMessage(Exception):
    """A message that cannot be taken. `is_too_large` is whether that is why."""

    def __init__(self, why: str, *, is_too_large: bool = False) -> None:
        super().__init__(why)
        self.is_too_large = is_too_large


class Message(NamedTuple):
    """A message as it came. `size` is what it takes while it waits."""

    content: bytes | bytearray
    is_compressed: bool

    @property
    def size(self) -> int:
        return len(self.content) + _OVERHEAD


class MessageReader:
    """Puts messages together. `held` are the bytes of the one that is not complete."""

    __slots__ = ("_encoding", "_length", "_max_bytes", "_pieces", "held")

    def __init__(self, max_bytes: int, encoding: str) -> None:
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._pieces: list[bytearray | memoryview] = []
        # Of the message that comes, with its prefix; None as long as that is not all there.
        self._length: int | None = None
        self.held = 0

    def read(self, pieces: Sequence[memoryview]) -> Iterator[Message]:
        """The messages that are complete with these. Raises BadMessage."""
        are_most = _are_most(pieces)
        for piece in pieces:
            at, end = 0, len(piece)
            while at < end:
                if not self.held and end - at >= PREFIX_SIZE:
                    length = self._checked(piece[at : at + PREFIX_SIZE])
                    if end - at >= length:
                        yield Message(bytes(piece[at + PREFIX_SIZE : at + length]), bool(piece[at]))
                        at += length
                        continue
                    self._length = length
                at += self._keep(piece[at : at + (self._length or PREFIX_SIZE) - self.held], as_it_is=are_most)
                if self._length is None and self.held == PREFIX_SIZE:
                    self._length = self._checked(self._pieces[0])
                if self.held == self._length:
                    yield self._whole()

    def unpacked(self, message: Message) -> bytes | bytearray:
        """The message as it was meant. Raises BadMessage."""
        if not message.is_compressed:
            return message.content
        if self._encoding not in _WINDOW_BITS:
            raise BadMessage("a compressed message, but no grpc-encoding that says how")
        inflater = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            content = inflater.decompress(message.content, self._max_bytes + 1)
        except zlib.error:
            raise BadMessage(f"a message that is not compressed by {self._encoding}") from None
        if len(content) > self._max_bytes:
            raise self._too_large(len(content))
        if not inflater.eof:
            raise BadMessage("a compressed message that is cut off")
        return content

    def _checked(self, prefix: bytearray | memoryview) -> int:
        """The length of a message with its prefix. Raises BadMessage."""
        if prefix[0] > 1:
            raise BadMessage("a message with a prefix that gRPC does not have")
        length = int.from_bytes(prefix[1:PREFIX_SIZE], "big")
        if length > self._max_bytes:
            raise self._too_large(length)
        return PREFIX_SIZE + length

    def _keep(self, piece: memoryview, *, as_it_is: bool) -> int:
        """Small pieces together: each by itself would take many times its size."""
        if as_it_is and self._length is not None and len(piece) >= _SMALL_PIECE:
            self._pieces.append(piece)
        elif self._pieces and isinstance(last := self._pieces[-1], bytearray) and len(last) < _SMALL_PIECE:
            last += piece
        else:
            self._pieces.append(bytearray(piece))
        self.held += len(piece)
        return len(piece)

    def _whole(self) -> Message:
        """The message, in memory that ends where numbers may: where a record batch is the last of it, its numbers can be used in place."""
        is_compressed = bool(self._pieces[0][0])
        before = -self.held % _ALIGNMENT
        content = bytearray().join([bytes(before), *self._pieces])
        # Nothing is moved by that, unless it is very small. The first piece has the whole prefix: what comes after a small one is added
        # to it.
        del content[: before + PREFIX_SIZE]
        self._pieces, self._length, self.held = [], None, 0
        return Message(content, is_compressed)

    def _too_large(self, length: int) -> BadMessage:
        # In the words of gRPC, by which clients may know it.
        return BadMessage(f"Received message larger than max ({length} vs. {self._max_bytes})", is_too_large=True)


def _are_most(pieces: Sequence[memoryview]) -> bool:
    """Whether these are at least half of what was received at once, all of which they keep in memory."""
    return 2 * sum(map(len, pieces)) >= len(cast("bytes", pieces[0].obj))


def prefixed(message: bytes) -> bytes:
    """The message as it travels, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message
