"""Messages of a number and a chunk of bytes, as protobuf writes them, without its copies.

Chunks of frames are most of what travels in a stream of predictions. Protobuf copies each of them twice on the way in and twice on the
way out; here a chunk is a view of its message, and a message is put together once. Any protobuf library reads what is written here;
what other libraries write in another way goes through protobuf itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# Numbers in a chunk shall lie at addresses that this divides: a message begins at one.
ALIGNMENT = 8
LONGEST_VARINT = 10
_NUMBER = 0x08  # field 1, a number
_BYTES = 2  # the kind of a field of bytes, and of a message
_FIRST = bytes((1 << 3 | _BYTES,))


def field_tag(field: int) -> int:
    """What stands before a field of bytes, or a message."""
    return field << 3 | _BYTES


def read_chunk(message: bytes, tags: Collection[int]) -> tuple[int, int, memoryview] | None:
    """The number, the tag and the chunk of a message that has nothing else; None for any other. Tags are less than 128."""
    if len(message) < 4 or message[0] != _NUMBER:
        return None
    number, at = _read_varint(message, 1)
    if not 0 < at < len(message) or message[at] not in tags or number >> 63:
        return None
    size, begin = _read_varint(message, at + 1)
    if not begin or begin + size != len(message):
        return None
    return number, message[at], memoryview(message)[begin:]


def read_tag(message: bytes) -> int:
    """The tag of what follows the number of a message; 0 if nothing does."""
    if not message or message[0] != _NUMBER:
        return 0
    _, at = _read_varint(message, 1)
    return message[at] if 0 < at < len(message) else 0


def write_chunk(number: int, tag: int, buffers: Iterable[Any]) -> bytes:
    """A message of a number, which must not be negative, and a chunk."""
    views = [memoryview(buffer) for buffer in buffers]
    size = _varint(sum(view.nbytes for view in views))
    return b"".join([b"\x08", _padded(_varint(number), 2 + len(size)), bytes((tag,)), size, *views])


@lru_cache(256)
def write_head(tag: int, size: int) -> bytes:
    """What stands before a field of so many bytes. The tag is less than 128."""
    return bytes((tag,)) + _varint(size)


def write_part(number: int, tag: int, content: bytes) -> bytes:
    """A message of a number, which must not be negative, and a field of bytes, wherever these come to lie."""
    return b"\x08" + _varint(number) + write_head(tag, len(content)) + content


def write_bundle(tag: int, messages: Iterable[bytes]) -> bytes:
    """A message whose only field, of this tag, is a message that holds others in its field 1. The tag is less than 128."""
    content = b"".join([part for message in messages for part in (_FIRST, _varint(len(message)), message)])
    return write_head(tag, len(content)) + content


def _padded(digits: bytes, others: int) -> bytes:
    """A number may be written with zeros before it, so that what follows is aligned. That is given up where it would be too long."""
    length = len(digits) + -(len(digits) + others) % ALIGNMENT
    if length > LONGEST_VARINT:
        return digits
    zeros = length - len(digits)
    return digits if not zeros else digits[:-1] + bytes((digits[-1] | 0x80,)) + b"\x80" * (zeros - 1) + b"\0"


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends: 0 if it does not."""
    value = shift = 0
    for place in range(at, min(len(data), at + LONGEST_VARINT)):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return value, place + 1
        shift += 7
    return 0, 0
