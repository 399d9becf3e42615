"""Header blocks (HPACK, RFC 7541).

Answers do without the table of recent fields: each is encoded by itself, most of them once for all. What callers send is read by the table,
whose entries are kept as text, so that the fields that come with every call need not be decoded again; nor looked up again, where a block
begins with the same fields as one before.
"""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from . import huffman
from .frames import LARGEST_OTHER, Code, ConnectionFault

Field = tuple[str, str]

_TABLE_SIZE = 4096  # what holds as long as we do not announce another
_ENTRY_OVERHEAD = 32
_STATIC: list[Field] = [(name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE]
_FIRST_RECENT = len(_STATIC) + 1
# Empty ones cost, too.
_MOST_CONTINUATIONS = 64
# An index or a length of more bytes than this is an attack.
_MOST_INTEGER_BYTES = 5
# Those of the recent fields whose index takes one byte, and the bytes that are an index by themselves.
_NEAR = 0x7F - _FIRST_RECENT
_SHORT_INDEXES = bytes(range(0x81, 0xFF))
# Each field that is remembered has a number; by the last of them, tables that turn the index of a recent field into its number, of which
# seven bits do, since fewer are near. Indexes of static fields are bytes above these.
_NUMBERS = 0x80
_TO_NUMBERS = [
    bytes(range(0x80 + _FIRST_RECENT)) + bytes((last - back) % _NUMBERS for back in range(_NEAR)) + b"\xff"
    for last in range(_NUMBERS)
]
_NEVER_FORGOTTEN = 1 << 62
_SHORT_LENGTHS = [length.to_bytes() for length in range(0x7F)]
# Beginnings of blocks that are remembered for a connection, and how many fields they may have.
_MOST_BEGINNINGS, _LONGEST_BEGINNING = 16, 32


class HeaderBlock:
    """A block that comes in one frame or several, with the flags of the first."""

    def __init__(self, stream: int, flags: int, content: bytes) -> None:
        self.stream = stream
        self.flags = flags
        self.content = bytearray(content)
        self._left = _MOST_CONTINUATIONS

    def add(self, more: bytes) -> None:
        """Raises ConnectionFault."""
        self.content += more
        self._left -= 1
        if self._left < 0 or len(self.content) > LARGEST_OTHER:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block that is too large")


def _entry_size(field: Field) -> int:
    # Text of one byte per character: the lengths are those of the bytes.
    return len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD


class Beginning:
    """The fields that a block begins with and that are all in the table. Blocks that begin in the same way share it, and with it `meaning`,
    which is what the reader of the fields has made of them."""

    __slots__ = ("fields", "meaning", "oldest", "size")

    def __init__(self, fields: tuple[Field, ...], oldest: int) -> None:
        """`oldest` is the least number among those of the recent fields."""
        self.fields = fields
        self.oldest = oldest
        self.size = sum(map(_entry_size, fields))
        self.meaning: Any = None


NO_BEGINNING = Beginning((), _NEVER_FORGOTTEN)
# The fields of a block: those that it begins with, and the others.
Headers = tuple[Beginning, list[Field]]


class HeaderDecoder:
    """Reads the header blocks of one connection, in their order."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is for the fields of a block, each with the overhead that the table counts."""
        self._max_bytes = max_bytes
        self._recent: deque[Field] = deque()
        # The numbers of the first and the last of them.
        self._oldest, self._last = 1, 0
        self._size, self._capacity = 0, _TABLE_SIZE
        self._beginnings: dict[bytes, Beginning] = {}

    def decode(self, block: bytes) -> Headers | None:
        """The fields; None if they are too large. Raises ConnectionFault: what comes after a block that cannot be read makes no sense any
        more."""
        try:
            return self._decode(block)
        except (IndexError, HPACKError):
            raise ConnectionFault(Code.COMPRESSION_ERROR, "a header block that cannot be read") from None

    def _decode(self, block: bytes) -> Headers | None:
        at = len(block) - len(block.lstrip(_SHORT_INDEXES))
        if at > _LONGEST_BEGINNING:
            at = 0
        beginning = self._beginning(block[:at]) if at else NO_BEGINNING
        others: list[Field] = []
        end, room = len(block), self._max_bytes - beginning.size
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = (first & 0x7F, at + 1) if first != 0xFF else _integer(block, at, 0x7F)
                field = self._field(index)
            elif first & 0x40:
                field, at = self._literal(block, at, 0x3F)
                self._remember(field)
            elif first & 0x20:
                at = self._resize(block, at, is_first=room == self._max_bytes)
                continue
            else:
                field, at = self._literal(block, at, 0x0F)
            room -= len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if room >= 0:
                others.append(field)
        return (beginning, others) if room >= 0 else None

    def _beginning(self, indexes: bytes) -> Beginning:
        key = indexes.translate(_TO_NUMBERS[self._last % _NUMBERS])
        beginning = self._beginnings.get(key)
        if beginning is None or self._last - beginning.oldest >= _NEAR or beginning.oldest < self._oldest:
            beginning = self._look_up(indexes)
            if len(self._beginnings) >= _MOST_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[key] = beginning
        return beginning

    def _look_up(self, indexes: bytes) -> Beginning:
        """Raises IndexError."""
        places = [index & 0x7F for index in indexes]
        furthest = max(places, default=0)
        oldest = self._last - (furthest - _FIRST_RECENT) if furthest >= _FIRST_RECENT else _NEVER_FORGOTTEN
        return Beginning(tuple(map(self._field, places)), oldest)

    def _field(self, index: int) -> Field:
        if index >= _FIRST_RECENT:
            return self._recent[index - _FIRST_RECENT]
        if not index:
            raise IndexError
        return _STATIC[index - 1]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index = block[at] & mask
        if index == mask:
            index, at = _integer(block, at, mask)
        else:
            at += 1
        if index:
            name = self._field(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _remember(self, field: Field) -> None:
        self._recent.appendleft(field)
        self._last += 1
        self._size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        if self._size > self._capacity:
            self._evict()

    def _resize(self, block: bytes, at: int, *, is_first: bool) -> int:
        capacity, at = _integer(block, at, 0x1F)
        if capacity > _TABLE_SIZE or not is_first:
            raise IndexError
        self._capacity = capacity
        self._evict()
        return at

    def _evict(self) -> None:
        while self._size > self._capacity:
            name, value = self._recent.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD
            self._oldest += 1


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number in the bits of the mask, and in more bytes if it does not fit; and where it ends. Raises IndexError."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _MOST_INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError


def _string(block: bytes, at: int) -> tuple[str, int]:
    first = block[at]
    length, at = (first & 0x7F, at + 1) if first & 0x7F != 0x7F else _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    text = block[at:end]
    return huffman.decoded(text) if first & 0x80 else text.decode("latin-1"), end


# Tells a peer whose table is smaller than the usual one that we do without any, as it has to be told before anything else.
NO_TABLE = b"\x20"


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """A block that neither needs the table nor changes it."""
    return b"".join([_encoded_name(name) + _encoded(value) for name, value in fields])


@lru_cache(256)
def _encoded_name(name: str) -> bytes:
    """With what goes before it. The same few come with every answer."""
    return b"\x00" + _encoded(name)


def _encoded(text: str) -> bytes:
    data = text.encode("latin-1")
    length = len(data)
    if length < 0x7F:
        return _SHORT_LENGTHS[length] + data
    rest, more = length - 0x7F, bytearray(b"\x7f")
    while rest >= 0x80:
        more.append(rest & 0x7F | 0x80)
        rest >>= 7
    more.append(rest)
    return bytes(more) + data
