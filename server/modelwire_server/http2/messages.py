"""Messages of gRPC in the content of a stream: each behind a byte that says whether it is compressed, and its length in four."""

import zlib
from collections.abc import Iterator

PREFIX_SIZE = 5
ENCODINGS = ("identity", "deflate", "gzip")
# For zlib: what of the formats it reads.
_WINDOW_BITS = {"deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}


class BadMessage(Exception):
    """A message that cannot be taken. `is_too_large` is whether that is why."""

    def __init__(self, why: str, *, is_too_large: bool = False) -> None:
        super().__init__(why)
        self.is_too_large = is_too_large


class MessageReader:
    """Puts messages together. `held` are the bytes of the one that is not complete."""

    __slots__ = ("_encoding", "_length", "_max_bytes", "_pieces", "held")

    def __init__(self, max_bytes: int, encoding: str) -> None:
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._pieces: list[bytes] = []
        # Of the message that comes, with its prefix; None as long as that is not all there.
        self._length: int | None = None
        self.held = 0

    def read(self, piece: memoryview) -> Iterator[bytes]:
        """The messages that are complete with this. Raises BadMessage."""
        at, end = 0, len(piece)
        while at < end:
            if self._length is None and not self.held and end - at >= PREFIX_SIZE:
                length = self._checked(piece[at : at + PREFIX_SIZE])
                if end - at >= length:
                    yield self._message(piece[at], bytes(piece[at + PREFIX_SIZE : at + length]))
                    at += length
                    continue
                self._length = length
            take = min(end - at, (self._length or PREFIX_SIZE) - self.held)
            self._pieces.append(bytes(piece[at : at + take]))
            self.held += take
            at += take
            if self._length is None and self.held == PREFIX_SIZE:
                self._length = self._checked(b"".join(self._pieces))
            if self.held == self._length:
                yield self._whole()

    def _checked(self, prefix: bytes | memoryview) -> int:
        if prefix[0] > 1:
            raise BadMessage("a message with a prefix that gRPC does not have")
        length = int.from_bytes(prefix[1:PREFIX_SIZE], "big")
        if length > self._max_bytes:
            raise self._too_large(length)
        return PREFIX_SIZE + length

    def _whole(self) -> bytes:
        first = self._pieces[0][0]
        if len(self._pieces[0]) >= PREFIX_SIZE:
            self._pieces[0] = self._pieces[0][PREFIX_SIZE:]
            content = b"".join(self._pieces)
        else:
            content = b"".join(self._pieces)[PREFIX_SIZE:]
        self._pieces, self._length, self.held = [], None, 0
        return self._message(first, content)

    def _message(self, is_compressed: int, content: bytes) -> bytes:
        if not is_compressed:
            return content
        if self._encoding not in _WINDOW_BITS:
            raise BadMessage("a compressed message, but no grpc-encoding that says how")
        inflater = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            message = inflater.decompress(content, self._max_bytes + 1)
        except zlib.error:
            raise BadMessage(f"a message that is not compressed by {self._encoding}") from None
        if len(message) > self._max_bytes:
            raise self._too_large(len(message))
        if not inflater.eof:
            raise BadMessage("a compressed message that is cut off")
        return message

    def _too_large(self, length: int) -> BadMessage:
        # In the words of gRPC, by which clients may know it.
        return BadMessage(f"Received message larger than max ({length} vs. {self._max_bytes})", is_too_large=True)


def prefixed(message: bytes) -> bytes:
    """The message as it travels, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message
