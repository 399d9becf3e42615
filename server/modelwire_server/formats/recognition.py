"""Which format a file is of, told by its bytes alone: nothing of it is run, and nothing is believed that its name or sender says."""

import json
import struct
import zipfile
from pathlib import Path

from .model import Format

_ZIP = b"PK\x03\x04"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
# What pickles of protocol 0 and 1 begin with: marks, and the opcodes of what is put first.
_OLD_PICKLES = (b"(", b"c", b"]", b"}", b")")
# What joblib writes around a pickle: zlib, gzip, bzip2, xz, lzma.
_COMPRESSED = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00\x00")
_LONGEST_HEADER = 100 << 20
# The first field of every ONNX file is its version, a small number.
_ONNX = b"\x08"
SCHEMA = "schema.json"


def format_of(path: Path) -> Format | None:
    """The format of a file; None if it is none that is known. Compressed files and old pickles count as pickles, since whatever opens them
    would run them."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_ZIP):
        return Format.SKOPS if _is_skops(path) else None
    if _is_safetensors(path, head):
        return Format.SAFETENSORS
    if head.startswith((*_PICKLES, *_OLD_PICKLES, *_COMPRESSED)):
        return Format.CLOUDPICKLE
    return Format.ONNX if head.startswith(_ONNX) else None


def _is_skops(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return SCHEMA in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Whether it begins with the length of a JSON object and that object."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack_from("<Q", head)
    if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
        return False
    with path.open("rb") as file:
        file.seek(8)
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except (ValueError, RecursionError):
            return False
