"""Wake-ups inside one process: what is new is read from the database, here is only told *that* something is new."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class JobHub:
    """Tells watchers that a job has news and the dispatcher that there is work, so that nobody polls."""

    def __init__(self) -> None:
        self.work = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job has news; clear it before reading what is new."""
        news = asyncio.Event()
        watchers = self._watchers.setdefault(job_id, set())
        watchers.add(news)
        try:
            yield news
        finally:
            watchers.discard(news)
            if not watchers and self._watchers.get(job_id) is watchers:
                del self._watchers[job_id]

    def notify(self, job_id: str) -> None:
        for news in self._watchers.get(job_id, ()):
            news.set()

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
