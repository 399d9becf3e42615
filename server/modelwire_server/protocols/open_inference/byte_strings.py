"""BYTES tensors as they travel: each value with its length before it, as four little-endian bytes."""

import struct
from collections.abc import Iterable

_LENGTH = struct.Struct("<I")


class BrokenTensor(ValueError):
    """The bytes are not what a tensor consists of; the message says why."""


def pack(values: Iterable[bytes]) -> bytes:
    return b"".join([part for value in values for part in (_LENGTH.pack(len(value)), value)])


def unpack(raw: bytes, count: int) -> list[bytes]:
    """The values, which must be so many. Raises BrokenTensor."""
    values: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        begin = at + 4
        if begin > end:
            raise BrokenTensor(f"ends in the middle of the length of value {len(values)}")
        at = begin + int.from_bytes(raw[at:begin], "little")
        if at > end:
            raise BrokenTensor(f"ends in the middle of value {len(values)}")
        values.append(raw[begin:at])
    if len(values) != count:
        raise BrokenTensor(f"has {len(values):,} values, but its shape asks for {count:,}")
    return values
