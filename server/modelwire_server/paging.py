"""Lists, page by page."""

import base64
import binascii
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import FieldViolation, InvalidField
from .rules import ULID

T = TypeVar("T")

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; `next_page_token` is empty on the last page, `total_size` counts all pages."""

    items: list[T]
    next_page_token: str
    total_size: int


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: `after` is the id of the last item of the page before, empty for the first page."""

    size: int = DEFAULT_SIZE
    after: str = ""
    skip: int = 0

    @classmethod
    def of(cls, page_size: int = 0, page_token: str = "", skip: int = 0) -> "PageRequest":
        """Reads what a caller sent: no size means 100, too large is 1,000. Raises InvalidField."""
        if page_size < 0:
            raise InvalidField.of(FieldViolation("page_size", "must not be negative"))
        if skip < 0:
            raise InvalidField.of(FieldViolation("skip", "must not be negative"))
        return cls(min(page_size or DEFAULT_SIZE, LARGEST_SIZE), read_token(page_token), skip)

    def page(self, items: list[T], ids: list[str], total: int) -> Page[T]:
        """The page, given one item more than its size if there are more."""
        more = len(items) > self.size
        token = write_token(ids[self.size - 1]) if more else ""
        return Page(items[: self.size], token, total)


def write_token(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def read_token(token: str) -> str:
    try:
        last_id = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        last_id = "?"
    if token and not ULID.fullmatch(last_id):
        raise InvalidField.of(FieldViolation("page_token", "is not a token of this server"))
    return last_id
