"""Every call that is no stream has a deadline, and whoever works for a call can learn how much of it is left."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from ..deadline import set_remaining
from ..errors import DeadlineExceeded
from .around import Act, Around, Context, Method, time_left


def deadlines(default: float) -> Around:
    """Refuses calls that are expired when they arrive; ends calls without deadline, unless they stream, after `default` seconds."""

    def around(method: Method, act: Act) -> Act:
        async def bounded(request: Any, context: Context) -> Any:
            left = time_left(context)
            if left is None and not method.streams:
                return await _within(default, act(request, context))
            if left is not None and left <= 0:
                raise DeadlineExceeded("the deadline had passed when the call arrived", timeout=0)
            set_remaining(left)
            return await act(request, context)

        return bounded

    return around


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    set_remaining(seconds)
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if not timer.expired():
            raise
        message = f"the call took longer than {seconds:g} s, the server's limit for calls without deadline"
        raise DeadlineExceeded(message, timeout=seconds) from None
