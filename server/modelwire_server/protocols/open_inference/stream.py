"""Many requests on one stream, worked on side by side and answered in their order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")

# So many requests of a stream are under way, or wait for their answer to be taken; then no more are read.
AHEAD = 16


async def in_order(
    requests: AsyncIterator[Request], work: Callable[[Request], Coroutine[Any, Any, Answer]], ahead: int = AHEAD
) -> AsyncGenerator[Answer, None]:
    """What `work` makes of each request. Closing it ends what is under way; an error of `work` ends the stream."""
    pending: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue(ahead)
    started: set[asyncio.Task[Answer]] = set()

    async def read() -> None:
        try:
            async for request in requests:
                task = asyncio.create_task(work(request), name="request of a stream")
                started.add(task)
                task.add_done_callback(started.discard)
                await pending.put(task)
        finally:
            await pending.put(None)

    reader = asyncio.create_task(read(), name="requests of a stream")
    try:
        while (task := await pending.get()) is not None:
            yield await task
        await reader
    finally:
        reader.cancel()
        for task in tuple(started):
            task.cancel()
        # The reader may wait for room to say that it is done.
        while not pending.empty():
            pending.get_nowait()
        await asyncio.gather(reader, *started, return_exceptions=True)
