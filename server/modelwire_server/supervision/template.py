"""The supervisor's side of a template, and of the processes that it forks."""

import asyncio
import itertools
import os
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import StartError
from ..execution.wire import Message, socket_pair
from .line import Line

_FAREWELL_SECONDS = 5.0


class Broken(StartError):
    """What is to be served cannot be imported; `traceback` tells where that was found out."""

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


@dataclass(eq=False, slots=True)
class Worker:
    """A forked process. `ready` tells whether it has begun its work, False once it never will; `ended` its exit code, or minus the
    signal that ended it. `why` is what it said of that."""

    seat: str
    role: str
    template: "Template"
    number: int
    on_end: Callable[["Worker"], None]
    ready: asyncio.Future[bool]
    established: asyncio.Event
    ended: asyncio.Future[int]
    line: Line | None = None
    why: str = ""
    beat: float = field(default_factory=time.monotonic)
    _began: float | None = None
    _kept: dict[str, int] = field(default_factory=dict)

    @property
    def is_serving(self) -> bool:
        return self.ready.done() and self.ready.result() and not self.ended.done()

    @property
    def served_for(self) -> float:
        """So many seconds ago it has begun its work."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    async def begun(self) -> bool:
        """Waits until it does its work; False once it never will."""
        # Who waits may be canceled, and must not cancel what others wait for.
        return await asyncio.shield(self.ready)

    async def end(self) -> int:
        """Waits until it has ended; returns its exit code, or minus the signal."""
        return await asyncio.shield(self.ended)

    def begins(self) -> None:
        """It does its work now."""
        self._began = time.monotonic()
        if not self.ready.done():
            self.ready.set_result(True)

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        return self.line is not None and self.line.send(message, fds)

    def keep(self, name: str, file: int) -> None:
        """Takes over a descriptor of what is to be kept beyond the worker's end."""
        if (before := self._kept.pop(name, None)) is not None:
            os.close(before)
        self._kept[name] = file

    def take(self, name: str) -> bytes:
        """What was kept, for once."""
        handle = self._kept.pop(name, None)
        if handle is None:
            return b""
        with os.fdopen(handle, "rb") as file:
            file.seek(0)
            return file.read()

    def kill(self) -> None:
        """Ends it at once."""
        self.template.kill(self.number)


class Template:
    """A process that forks workers. `lost` is done when it has gone, and all its workers with it."""

    _numbers = itertools.count(1)

    def __init__(self, process: Process, link: socket.socket) -> None:
        self._process = process
        loop = asyncio.get_running_loop()
        self._loaded: asyncio.Future[Message] = loop.create_future()
        self._workers: dict[int, Worker] = {}
        self._line = Line(link, self._on_message, lambda: None)
        self.lost = asyncio.create_task(self._see_off(), name="template")

    @classmethod
    async def launch(cls, module: str, load: Mapping[str, Any], environment: Mapping[str, str]) -> tuple["Template", Message]:
        """Starts `module` as a template and has it import what `load` says; returns what it tells of itself. Raises StartError if it
        cannot."""
        ours, theirs = socket_pair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **environment},
                # Ctrl-C in a terminal is for the supervisor alone.
                start_new_session=True,
            )
        template = cls(process, ours)
        try:
            return template, await template._load(load)
        except BaseException:
            await template.close()
            raise

    @property
    def workers(self) -> list[Worker]:
        return list(self._workers.values())

    @property
    def is_gone(self) -> bool:
        return self._process.returncode is not None

    def fork(
        self,
        seat: str,
        role: str,
        order: Message,
        on_message: Callable[[Worker, Message, list[int]], None],
        on_end: Callable[[Worker], None],
        fds: Sequence[int] = (),
    ) -> Worker:
        """Forks a worker that is to have a role, and copies of descriptors. What it says, and that it has ended, is told at once."""
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        worker = Worker(seat, role, self, number, on_end, loop.create_future(), asyncio.Event(), loop.create_future())
        self._workers[number] = worker
        ours, theirs = socket_pair()
        worker.line = Line(ours, lambda message, fds: on_message(worker, message, fds), lambda: None)
        with theirs:
            if not self._line.send({"fork": number, "seat": seat, "role": role, **order}, [theirs.fileno(), *fds]):
                self._end(number, 1)
        return worker

    def kill(self, number: int) -> None:
        self._line.send({"kill": number})

    async def close(self) -> None:
        """Ends it; workers that are left are killed."""
        self._line.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await asyncio.shield(self.lost)
        except TimeoutError:
            self._process.kill()
            await self.lost

    async def _load(self, load: Mapping[str, Any]) -> Message:
        self._line.send({"load": dict(load)})
        outcomes: set[asyncio.Future[Any]] = {self._loaded, self.lost}
        await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        if not self._loaded.done():
            raise StartError(f"the server cannot start: the process that loads it ended with status {self._process.returncode}")
        told = self._loaded.result()
        if "broken" in told:
            raise Broken(told["broken"], told["traceback"])
        return told

    def _on_message(self, message: Message, fds: list[int]) -> None:
        if "ended" in message:
            self._end(message["ended"], message["status"])
        else:
            self._loaded.set_result(message)

    def _end(self, number: int, status: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is None:
            return
        if worker.line is not None:
            # What it said last is read before.
            worker.line.read()
            worker.line.close()
        if not worker.ready.done():
            worker.ready.set_result(False)
        worker.ended.set_result(status)
        worker.on_end(worker)

    async def _see_off(self) -> None:
        await self._process.wait()
        self._line.read()
        self._line.close()
        for number in list(self._workers):
            self._end(number, -9)
