"""Wake-ups inside one process, and the events that it has just stored itself."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .model import Event

# A watcher that is slower reads from the database what it has missed.
_MOST_TOLD = 500


class News:
    """What a watcher of a job has not taken yet: the events that it was told, and whether there may be others."""

    def __init__(self) -> None:
        self._come = asyncio.Event()
        self._told: list[Event] = []
        self._may_be_more = True

    def wake(self) -> None:
        """There is something new, wherever."""
        self._may_be_more = True
        self._come.set()

    def tell(self, events: Sequence[Event]) -> None:
        """These are new, and stored."""
        self._told += events
        if len(self._told) > _MOST_TOLD:
            self._told.clear()
            self._may_be_more = True
        self._come.set()

    def take(self, after: int) -> list[Event]:
        """All events after this sequence; none if the database has to be asked."""
        self._come.clear()
        told, self._told = [event for event in self._told if event.sequence > after], []
        may_be_more, self._may_be_more = self._may_be_more, False
        expected = range(after + 1, after + 1 + len(told))
        return [] if may_be_more or [event.sequence for event in told] != list(expected) else told

    async def comes(self, within: float) -> bool:
        """Whether there is something new before `within` seconds are over."""
        try:
            async with asyncio.timeout(within):
                await self._come.wait()
        except TimeoutError:
            return False
        return True


class JobHub:
    """Tells watchers that a job has news and the dispatcher that there is work, so that nobody polls."""

    def __init__(self) -> None:
        self.work = asyncio.Event()
        self._watchers: dict[str, set[News]] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[News]:
        """What is new about the job from now on."""
        news = News()
        watchers = self._watchers.setdefault(job_id, set())
        watchers.add(news)
        try:
            yield news
        finally:
            watchers.discard(news)
            if not watchers and self._watchers.get(job_id) is watchers:
                del self._watchers[job_id]

    def notify(self, job_id: str) -> None:
        """The job has news that the database knows."""
        for news in self._watchers.get(job_id, ()):
            news.wake()

    def tell(self, job_id: str, events: Sequence[Event]) -> None:
        """The job has these new events, which are stored."""
        if events:
            for news in self._watchers.get(job_id, ()):
                news.tell(events)

    def notify_all(self) -> None:
        """For when it is not known what is new."""
        self.work.set()
        for job_id in self._watchers:
            self.notify(job_id)

    @property
    def watched(self) -> list[str]:
        """The jobs that somebody watches."""
        return list(self._watchers)

    @property
    def watchers(self) -> int:
        return sum(map(len, self._watchers.values()))
