"""The answers of a stream: in order, or as they are done; never more than fit in memory."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from .stream_messages import bundle_of

# So many predictions of a stream are under way or wait for their answers to be taken, and so many bytes of questions and answers:
# enough to keep a model busy, and to let predictions share its calls.
MOST_CALLS = 256
MOST_BYTES = 4 << 20
# So many bytes of one answer wait to be taken before more of it is made.
MOST_OF_ONE = 1 << 20
# So many parts, and bytes of them, are written at once, or go into a bundle.
MOST_IN_BUNDLE = 64
MOST_OF_BUNDLE = 256 << 10


class Reply:
    """The answer to one prediction, part by part. `weight` is what its question takes in memory, in bytes."""

    __slots__ = ("_answers", "is_done", "parts", "size", "weight")

    def __init__(self, answers: "Answers", weight: int) -> None:
        self._answers = answers
        self.parts: deque[bytes] = deque()
        self.size = 0
        self.weight = weight
        self.is_done = False

    def put(self, part: bytes) -> None:
        """The next part; more follow."""
        self._answers.put(self, part)

    def end(self, part: bytes | None = None) -> None:
        """The last part."""
        self._answers.end(self, part)

    async def room(self) -> None:
        """Waits until the caller has taken most of what is there."""
        while self.size >= MOST_OF_ONE:
            await self._answers.progress()


class Answers:
    """What is to be written, and who must wait because there is too much of it. `calls` is how many predictions are under way."""

    def __init__(self) -> None:
        self.in_order, self.are_bundled = True, False
        self._open: deque[Reply] = deque()
        self._ready: deque[tuple[Reply, bytes]] = deque()
        self.calls = self._bytes = 0
        self._is_closed = False
        self._progress = asyncio.Event()
        self._news = asyncio.Event()

    def begin(self, weight: int = 0) -> Reply:
        """The answer to a question of so many bytes."""
        reply = Reply(self, weight)
        self.calls += 1
        self._bytes += weight
        if self.in_order:
            self._open.append(reply)
        return reply

    def put(self, reply: Reply, part: bytes) -> None:
        reply.size += len(part)
        self._bytes += len(part)
        if self.in_order:
            reply.parts.append(part)
            self._advance()
        else:
            self._ready.append((reply, part))
        self._news.set()

    def end(self, reply: Reply, part: bytes | None) -> None:
        reply.is_done = True
        self.calls -= 1
        self._bytes -= reply.weight
        if part is not None:
            self.put(reply, part)
        else:
            self._advance()
        self._news.set()
        self._progress.set()

    def _advance(self) -> None:
        """Makes ready what belongs to the oldest prediction that is not answered completely."""
        while self._open:
            first = self._open[0]
            self._ready.extend((first, part) for part in first.parts)
            first.parts.clear()
            if not first.is_done:
                return
            self._open.popleft()

    @property
    def is_full(self) -> bool:
        return self._bytes >= MOST_BYTES or self.calls + len(self._ready) >= MOST_CALLS

    @property
    def is_empty(self) -> bool:
        return not (self.calls or self._ready)

    async def room(self) -> None:
        """Waits until there is room for more questions."""
        while self.is_full:
            await self.progress()

    async def taken(self) -> None:
        """Waits until all is answered and taken."""
        while not self.is_empty:
            await self.progress()

    async def progress(self) -> None:
        """Waits until an answer was written or a prediction has ended."""
        self._progress.clear()
        await self._progress.wait()

    def close(self) -> None:
        """There will be no more questions."""
        self._is_closed = True
        self._news.set()

    async def write(self, write: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
        """Writes answers, as many at once as are there, until there are no more questions and all are answered."""
        while not (self._is_closed and self.is_empty):
            while self._ready:
                parts = self._next()
                await write([bundle_of(parts)] if self.are_bundled and len(parts) > 1 else parts)
                self._taken(len(parts))
            if self._is_closed and self.is_empty:
                return
            self._news.clear()
            await self._news.wait()

    def _next(self) -> list[bytes]:
        """The parts that are written next."""
        first, *others = (part for _, part in islice(self._ready, MOST_IN_BUNDLE))
        parts, size = [first], len(first)
        for part in others:
            size += len(part)
            if size > MOST_OF_BUNDLE:
                break
            parts.append(part)
        return parts

    def _taken(self, count: int) -> None:
        for _ in range(count):
            reply, part = self._ready.popleft()
            reply.size -= len(part)
            self._bytes -= len(part)
        self._progress.set()
