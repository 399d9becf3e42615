"""Time and ids, in one place."""

from datetime import UTC, datetime

from ulid import ULID


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new ULID: 26 characters, sortable by time of creation."""
    return str(ULID())
