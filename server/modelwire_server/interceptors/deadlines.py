"""Every call that is no stream has a deadline, and whoever works for a call can learn how much of it is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..deadline import set_remaining
from ..errors import DeadlineExceeded
from .around import Around, Call, time_left


def deadlines(default: float) -> Around:
    """Refuses calls that are expired when they arrive; ends calls without deadline, unless they stream, after `default` seconds."""

    @asynccontextmanager
    async def around(call: Call) -> AsyncIterator[None]:
        left = time_left(call.context)
        if left is not None and left <= 0:
            raise DeadlineExceeded("the deadline had passed when the call arrived", timeout=0)
        cap = default if left is None and not call.streams else None
        set_remaining(left if cap is None else cap)
        timer = asyncio.timeout(cap)
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            message = f"the call took longer than {default:g} s, the server's limit for calls without deadline"
            raise DeadlineExceeded(message, timeout=default) from None

    return around
