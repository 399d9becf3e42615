"""A process among those of a supervisor, as it sees itself: what it is told, whom it may ask, and that it is heard to live."""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from ..execution.wire import Message
from .line import Line

log = structlog.get_logger(__name__)

# What a process does with a connection that another one has asked for.
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Crew:
    """How things stand: so many processes serve of those that should, whether one runs jobs, and how many had to be replaced."""

    serving: int = 0
    wanted: int = 0
    has_jobs: bool = False
    restarts: int = 0


@dataclass(slots=True)
class _Question:
    """A wish for connections, and those that came so far."""

    all: asyncio.Future[None]
    connections: list[socket.socket] = field(default_factory=list)


class Member:
    """This process. Its event loop lets the supervisor hear every `beat_seconds` that it is not stuck.

    `leave` is set when another process has taken its place: it is to see to an end what it has begun. `stop` is set when the whole
    server ends: it is to hurry.
    """

    def __init__(self, link: socket.socket, beat_seconds: float) -> None:
        self.leave = asyncio.Event()
        self.stop = asyncio.Event()
        self.crew = Crew()
        self._crew_changed = asyncio.Event()
        self.on_notice: Callable[[str], None] = lambda notice: None
        self.on_missed: Callable[[], None] = lambda: None
        self._answers: dict[str, Answer] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._questions: dict[int, _Question] = {}
        self._numbers = itertools.count()
        self._line = Line(link, self._on_message, _die)
        self._beating = asyncio.create_task(self._beat(beat_seconds), name="heartbeat")

    def ready(self, **details: Any) -> None:
        """Tells the supervisor that this process does its work."""
        self._line.send({"ready": details})

    def established(self) -> None:
        """Tells that nothing can hinder the start of the whole server any more, as far as this process knows."""
        self._line.send({"established": True})

    def failed(self, why: str) -> None:
        """Tells why this process ends although nobody asked it to."""
        self._line.send({"failed": why[:4096]})

    def tell(self, notice: str) -> None:
        """Passes a notice to all other processes, from any thread."""
        self._line.tell(notice)

    def answers(self, about: str, answer: Answer) -> None:
        """Answers connections that other processes ask for."""
        self._answers[about] = answer

    async def connect(self, about: str) -> list[socket.socket]:
        """A connection with each other process that answers about this. They are the caller's to close."""
        number = next(self._numbers)
        question = self._questions[number] = _Question(asyncio.get_running_loop().create_future())
        try:
            if self._line.send({"connect": number, "about": about}):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        await question.all
            return question.connections
        except asyncio.CancelledError:
            for connection in question.connections:
                connection.close()
            raise
        finally:
            del self._questions[number]

    def keep(self, name: str, content: bytes) -> None:
        """Has the supervisor keep this beyond the end of this process, instead of what it kept under the name before."""
        handle = os.memfd_create(name)
        try:
            os.write(handle, content)
            self._line.send({"keep": name}, [handle])
        finally:
            os.close(handle)

    async def told_to_go(self) -> None:
        """Waits until this process is to end, one way or the other."""
        told = [asyncio.ensure_future(event.wait()) for event in (self.leave, self.stop)]
        try:
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in told:
                waiting.cancel()

    async def until_nobody_serves(self) -> None:
        """Waits until those that answer calls have ended."""
        while self.crew.serving:
            self._crew_changed.clear()
            await self._crew_changed.wait()

    async def close(self) -> None:
        """Gives answers under way a moment to end."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=1)
        self._beating.cancel()
        self._line.close()

    async def _beat(self, seconds: float) -> None:
        while True:
            self._line.send({"beat": True})
            await asyncio.sleep(seconds)

    def _on_message(self, message: Message, fds: list[int]) -> None:
        match message:
            case {"notice": notice}:
                self.on_notice(notice)
            case {"missed": _}:
                self.on_missed()
            case {"crew": crew}:
                self.crew = Crew(**crew)
                self._crew_changed.set()
            case {"connected": number}:
                self._on_connected(number, fds)
            case {"connection": about}:
                self._on_connection(about, fds[0])
            case {"go": "leave"}:
                self.leave.set()
            case {"go": _}:
                self.stop.set()

    def _on_connected(self, number: int, fds: list[int]) -> None:
        question = self._questions.get(number)
        if question is None:
            for fd in fds:
                os.close(fd)
        elif fds:
            question.connections += [socket.socket(fileno=fd) for fd in fds]
        elif not question.all.done():
            question.all.set_result(None)

    def _on_connection(self, about: str, fd: int) -> None:
        answer = self._answers.get(about)
        if answer is None:
            os.close(fd)
            return
        task = asyncio.create_task(self._answer(answer, fd), name=f"answer about {about}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, answer: Answer, fd: int) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
        try:
            await answer(reader, writer)
        except ConnectionError:
            log.debug("another process has hung up")
        except Exception:
            log.exception("another process could not be answered")
        finally:
            writer.close()


def _die() -> None:
    """Without a supervisor nobody would ever end this process."""
    os._exit(1)
