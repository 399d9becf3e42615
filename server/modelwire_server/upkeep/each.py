"""The same for many, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

# More than this keep neither a disk nor a processor busier, but hide how long an object store takes to answer.
AT_ONCE = 16

# Called with what is being done, and how much is done of how much.
Report = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """A report that nobody reads."""


async def for_each(items: Sequence[T], work: Callable[[T], Awaitable[object]], report: Report, what: str) -> None:
    """Runs `work` on all items. The first error ends it."""
    report(what, 0, len(items))
    for start in range(0, len(items), AT_ONCE):
        batch = items[start : start + AT_ONCE]
        ends = await asyncio.gather(*map(work, batch), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                raise error
        report(what, start + len(batch), len(items))
