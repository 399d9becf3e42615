"""The format of zip files, for files that are not compressed and whose size and checksum are known: then all that is around their
content is known too, and so is where everything lies."""

import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

# Larger numbers do not fit into the fields of the old format; what has one is said in the newer.
_LARGEST, _MOST = 0xFFFFFFFF, 0xFFFF
_OLD, _NEW = 20, 45
_UNIX = 3 << 8
_UTF8 = 0x800
_FOLDER = 0x10


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a folder whose path ends with a slash, or a symbolic link whose content is its target. `mode` holds type and
    permission bits."""

    path: str
    mode: int
    size: int = 0
    crc32: int = 0


def before(entry: Entry, time: datetime) -> bytes:
    """The bytes in front of an entry's content."""
    name = entry.path.encode()
    large = entry.size > _LARGEST
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if large else b""
    size = _LARGEST if large else entry.size
    version = _NEW if large else _OLD
    return (
        struct.pack("<4s5H3L2H", b"PK\3\4", version, _UTF8, 0, *_dos(time), entry.crc32, size, size, len(name), len(extra))
        + name
        + extra
    )


def after(entries: Sequence[tuple[Entry, int]], time: datetime, start: int) -> bytes:
    """The bytes behind the last entry's content: the table of contents. Each entry comes with where its bytes begin; `start` is where
    these do."""
    table = b"".join(_row(entry, offset, time) for entry, offset in entries)
    return table + b"".join(_end(len(entries), len(table), start))


def _row(entry: Entry, offset: int, time: datetime) -> bytes:
    name = entry.path.encode()
    large = [number for number in (entry.size, entry.size, offset) if number > _LARGEST]
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    attributes = entry.mode << 16 | (_FOLDER if stat.S_ISDIR(entry.mode) else 0)
    size = min(entry.size, _LARGEST)
    version = _NEW if large else _OLD
    made_by = _UNIX | version
    numbers = (made_by, version, _UTF8, 0, *_dos(time), entry.crc32, size, size, len(name), len(extra), 0, 0, 0, attributes)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers, min(offset, _LARGEST)) + name + extra


def _end(count: int, size: int, start: int) -> Iterator[bytes]:
    if count > _MOST or size > _LARGEST or start > _LARGEST:
        yield struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, _UNIX | _NEW, _NEW, 0, 0, count, count, size, start)
        yield struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    count = min(count, _MOST)
    yield struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, min(size, _LARGEST), min(start, _LARGEST), 0)


def _dos(time: datetime) -> tuple[int, int]:
    """Time and date; the years begin with 1980, the seconds are counted in twos."""
    return (
        time.hour << 11 | time.minute << 5 | time.second // 2,
        max(time.year - 1980, 0) << 9 | time.month << 5 | time.day,
    )
