"""Messages of protobuf without generated code: the contracts of the peers are not ours to keep."""

import struct
from collections.abc import Iterable

Value = int | bytes


def varint(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(content) + bytes([number])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def packed(number: int, values: Iterable[int]) -> bytes:
    return field(number, b"".join(varint(value) for value in values))


def parse(message: bytes) -> dict[int, list[Value]]:
    """The values of each field, in their order; fixed64 and fixed32 as bytes."""
    fields: dict[int, list[Value]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                fields.setdefault(tag >> 3, []).append(value)
                continue
            case 1 | 5 as fixed:
                size = 8 if fixed == 1 else 4
            case 2:
                size, at = _varint(message, at)
            case other:
                raise ValueError(f"wire type {other}")
        fields.setdefault(tag >> 3, []).append(message[at : at + size])
        at += size
    return fields


def integers(values: list[Value]) -> list[int]:
    """Those of a repeated integer field, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            found.append(one)
    return found


def doubles(values: list[Value]) -> list[float]:
    """Those of a repeated double field, packed or not."""
    content = b"".join(value for value in values if isinstance(value, bytes))
    return list(struct.unpack(f"<{len(content) // 8}d", content))


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
