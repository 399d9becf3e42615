"""How long the caller of the present call will wait, for whoever wants to know: no protocol is needed to ask."""

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def set_remaining(seconds: float | None) -> None:
    """Sets the deadline of the present task and of those that it starts from now on."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining() -> float | None:
    """Seconds until the caller gives up, negative when it has; None if it waits for ever."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()
