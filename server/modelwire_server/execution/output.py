"""What a job writes, turned into events."""

import os
from typing import Any

from ..clock import now
from ..jobs.model import EventKind, NewEvent
from .wire import clip

MAX_LINE = 16 * 1024
# What an event costs beside its text: without it, empty lines would be free.
_LINE_COST = 32
_READ_SIZE = 64 * 1024


class LogBudget:
    """How much a job may still log, over all its sources. When it is used up, one last line says so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def event(self, data: dict[str, Any]) -> NewEvent | None:
        """The event of a log line, None when nothing more is taken."""
        if self._left <= 0:
            return None
        data = {**data, "text": clip(str(data.get("text", "")), MAX_LINE)}
        self._left -= len(data["text"]) + _LINE_COST
        if self._left <= 0:
            data["text"] = f"[output is cut here: the job wrote more than {self._limit} bytes]"
        return NewEvent(EventKind.LOG, data, now())


class LineSource:
    """The read end of a pipe that a job writes to, as lines. Owns the descriptor."""

    def __init__(self, fd: int, source: str, budget: LogBudget) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.is_open = True
        self.last_line = ""
        self._source = source
        self._budget = budget
        self._rest = b""
        self._skipping = False

    def read(self) -> list[NewEvent]:
        """The lines that are complete by now. Empty also when there is nothing to read."""
        try:
            data = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return []
        if not data:
            return self.close()
        return self._split(data)

    def drain(self) -> list[NewEvent]:
        """Reads once more what a process that has ended left behind, and closes."""
        events: list[NewEvent] = []
        while self.is_open:
            try:
                data = os.read(self.fd, _READ_SIZE)
            except BlockingIOError:
                data = b""
            events += self._split(data) if data else self.close()
        return events

    def close(self) -> list[NewEvent]:
        """Closes the pipe; the last line need not have an end."""
        if not self.is_open:
            return []
        self.is_open = False
        os.close(self.fd)
        rest, self._rest = self._rest, b""
        return self._event(rest) if rest and not self._skipping else []

    def _split(self, data: bytes) -> list[NewEvent]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[NewEvent] = []
        for line in lines:
            events += [] if self._skipping else self._event(line)
            self._skipping = False
        if len(self._rest) > MAX_LINE:
            self._shorten_rest(events)
        return events

    def _shorten_rest(self, events: list[NewEvent]) -> None:
        """Keeps an endless line from filling the memory: progress bars rewrite theirs, the rest is cut."""
        self._rest = self._rest[self._rest.rfind(b"\r", 0, -1) + 1 :]
        if len(self._rest) > MAX_LINE:
            events += [] if self._skipping else self._event(self._rest)
            self._rest, self._skipping = b"", True

    def _event(self, line: bytes) -> list[NewEvent]:
        text = _as_seen(line.decode(errors="replace"))
        self.last_line = text.strip()[:500] or self.last_line
        event = self._budget.event({"source": self._source, "text": text})
        return [event] if event else []


def _as_seen(line: str) -> str:
    """The line as a terminal would leave it: a carriage return starts it anew."""
    return next((part for part in reversed(line.split("\r")) if part), "")
