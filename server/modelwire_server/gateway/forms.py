"""multipart/form-data: a request in parts, read as they come."""

from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .problems import Problem

FORM = "multipart/form-data"


async def parts_of(content_type: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """The parts of a form: its name with each piece of its content. Raises Problem for what is no form."""
    _, options = parse_options_header(content_type)
    reader = _Reader()
    try:
        parser = MultipartParser(options.get(b"boundary", b""), reader.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
            for piece in reader.take():
                yield piece
        parser.finalize()
    except FormParserError as error:
        raise _no_form(str(error)) from None
    if not reader.complete:
        raise _no_form("it has no end")


def _no_form(why: str) -> Problem:
    return Problem(400, "bad-request", "Bad Request", f"The body is no form: {why}")


class _Reader:
    """What the parser calls."""

    def __init__(self) -> None:
        self._pieces: list[tuple[str, bytes]] = []
        self._name = ""
        self._header, self._value = b"", b""
        self.complete = False

    def callbacks(self) -> Any:
        names = ("on_header_field", "on_header_value", "on_header_end", "on_headers_finished", "on_part_data", "on_end")
        return {name: getattr(self, name) for name in names}

    def take(self) -> list[tuple[str, bytes]]:
        taken, self._pieces = self._pieces, []
        return taken

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name", b"").decode(errors="replace")
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        self._pieces.append((self._name, b""))  # also a part without content is there

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append((self._name, data[start:end]))

    def on_end(self) -> None:
        self.complete = True
