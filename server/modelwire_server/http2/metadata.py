"""Headers of gRPC calls: what a call asks for, and how its end is told (the gRPC protocol over HTTP/2)."""

import base64
import binascii
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

import structlog

from .header_blocks import NO_BEGINNING, NO_TABLE, Beginning, Field, Headers, encode

log = structlog.get_logger(__name__)

Metadata = tuple[tuple[str, str | bytes], ...]

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_TIMEOUT_DIGITS = 8
_MOST_LENGTH_DIGITS = 19
# Longer names are not remembered.
_LONGEST_KNOWN = 64
_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})
# Fields of connections of HTTP/1, which must not come.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
# Fields of the protocol, which are no metadata of the call.
_OURS = frozenset({"te", "content-type", "content-length", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "host"})
# What the status is told by, and what only the server knows.
_RESERVED = _OURS | _HOP_BY_HOP | {"grpc-status", "grpc-message", "grpc-message-type"}
_UNESCAPED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class Malformed(ValueError):
    """Headers that are no request of HTTP/2."""


class Request(NamedTuple):
    """What the headers of a call say. `fields` are those of the protocol."""

    method: str
    path: str
    fields: dict[str, str]
    metadata: Metadata


def read_request(fields: Iterable[Field], beginning: Beginning = NO_BEGINNING) -> Request:
    """`beginning` goes before the fields; what it means is found out once. Raises Malformed."""
    known, metadata = beginning.meaning or _meaning(beginning)
    known, metadata = _read(fields, known.copy(), metadata)
    _check(known)
    return Request(known[":method"], known[":path"], known, metadata)


def path_of(headers: Headers) -> str:
    """Empty where there is none. Raises Malformed."""
    beginning, others = headers
    known, _ = beginning.meaning or _meaning(beginning)
    return known[":path"] if ":path" in known else next((value for name, value in others if name == ":path"), "")


def _meaning(beginning: Beginning) -> tuple[dict[str, str], Metadata]:
    """Raises Malformed."""
    beginning.meaning = meaning = _read(beginning.fields, {}, ())
    return meaning


def _read(fields: Iterable[Field], known: dict[str, str], before: Metadata) -> tuple[dict[str, str], Metadata]:
    """Adds fields of the protocol to those that are known, and the metadata to those before. Raises Malformed."""
    metadata = list(before)
    for name, value in fields:
        place = _known_place(name) if len(name) <= _LONGEST_KNOWN else _place(name)
        if place == "pseudo":
            if name in known or metadata or not known.keys() <= _PSEUDO:
                raise Malformed(f"{name} is out of place")
            known[name] = value
        elif place == "ours":
            known[name] = value
        elif place == "binary":
            metadata.extend((name, content) for content in _binary(value))
        else:
            metadata.append((name, value))
        if not value.isprintable():
            _check_value(name, value)
    return known, tuple(metadata)


@lru_cache(4096)
def _known_place(name: str) -> str:
    return _place(name)


def _place(name: str) -> str:
    """What a field is. Raises Malformed."""
    if name in _PSEUDO:
        return "pseudo"
    if name in _OURS:
        return "ours"
    if (
        not name
        or name != name.lower()
        or name in _HOP_BY_HOP
        or not name.isascii()
        or not name.isprintable()
        or set(name) & set(": ")
    ):
        raise Malformed(f"{name!r} is no name of a header here")
    return "binary" if name.endswith("-bin") else "metadata"


def _check_value(name: str, value: str) -> None:
    if any(character in value for character in "\0\r\n"):
        raise Malformed(f"{name} has a value that no header has")


def _check(known: dict[str, str]) -> None:
    if not known.get(":path") or ":method" not in known or ":scheme" not in known:
        raise Malformed("the method, the path or the scheme is missing")
    if known.get("te", "trailers") != "trailers":
        raise Malformed("te can only be trailers")
    length = known.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()) or len(length) > _MOST_LENGTH_DIGITS:
        raise Malformed("content-length is no number")


def _binary(value: str) -> list[bytes]:
    """Values that were joined are told apart by commas. Raises Malformed."""
    try:
        return [
            base64.b64decode(part + "=" * (-len(part) % 4), validate=True) for part in (part.strip() for part in value.split(","))
        ]
    except (binascii.Error, ValueError):
        raise Malformed("binary metadata that is not in base64") from None


@lru_cache(4096)
def read_timeout(text: str) -> float:
    """Seconds. Raises ValueError."""
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > _MOST_TIMEOUT_DIGITS or unit not in _UNITS:
        raise ValueError(f"{text!r} is no timeout of gRPC")
    return int(digits) * _UNITS[unit]


def metadata_fields(metadata: Iterable[tuple[str, str | bytes]]) -> list[Field]:
    """Without those that would stand beside a field of the protocol, and be taken for it."""
    return [
        (name, base64.b64encode(value).rstrip(b"=").decode() if isinstance(value, bytes) else value)
        for name, value in metadata
        if not _is_reserved(name)
    ]


@lru_cache(256)
def _is_reserved(name: str) -> bool:
    """Told in the log once, rather than at each call."""
    if name not in _RESERVED and not name.startswith(":"):
        return False
    log.warning("metadata that a method may not set are left out", name=name)
    return True


def status_fields(code: int, text: str) -> list[Field]:
    fields = [("grpc-status", str(code))]
    if text:
        fields.append(("grpc-message", quote(text, safe=_UNESCAPED, errors="replace")))
    return fields


# The answer begins; the status of HTTP is that nothing went wrong with HTTP.
HEAD = NO_TABLE + encode(
    [(":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,deflate,gzip")]
)
OK_TRAILER = encode(status_fields(0, ""))
