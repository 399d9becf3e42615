"""One run of a job's process, as the server sees it."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from ..artifacts.model import WORKSPACE, Blob
from ..artifacts.workspace import Workspace
from ..clock import now
from ..errors import ContentCorrupted, ModelwireError, WorkerLost
from ..jobs.model import EventKind, NewEvent
from .faults import exited, from_message, killed
from .interface import Completed, Failed, JobSpec, Made, Report
from .link import ForkServerLink, JobEnd
from .output import LineSource, LogBudget
from .specs import FOLDER, write_spec
from .wire import Message, receive, socket_pair

# How many messages are taken from the control socket before the output has its turn.
_MESSAGES_AT_ONCE = 256
# After a report, so much is waited: what is told at once is stored at once.
_PAUSE_SECONDS = 0.01
# How long work that is asked to stop has before it is signaled.
_COOPERATION_SECONDS = 0.5
_REPORTED = (EventKind.STAGE, EventKind.PROGRESS, EventKind.METRIC)


class ControlSource:
    """The server's end of a job's control socket. Owns the socket."""

    def __init__(self, link: socket.socket, spec: JobSpec, budget: LogBudget) -> None:
        link.setblocking(False)
        self._link = link
        self._folder = spec.folder
        self._budget = budget
        self.verdict: Completed | Failed | None = None

    @property
    def fd(self) -> int:
        return self._link.fileno()

    @property
    def is_open(self) -> bool:
        return self.fd >= 0

    def ask_to_stop(self) -> None:
        """Shuts the direction to the job, which it takes as the sign to stop."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def read(self) -> list[NewEvent]:
        """What the job has told by now."""
        events: list[NewEvent] = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MESSAGES_AT_ONCE):
                message = receive(self._link)
                if message is None:
                    self.close()
                    break
                # Anything may be written to this socket by what the runner does; only what makes sense is taken.
                with contextlib.suppress(KeyError, TypeError, ValueError):
                    events += self._take(message)
        return events

    def drain(self) -> list[NewEvent]:
        """What is left when nobody can send any more."""
        events: list[NewEvent] = []
        while self.is_open:
            more = self.read()
            events += more
            if not more:
                self.close()
        return events

    def close(self) -> None:
        self._link.close()

    def _take(self, message: Message) -> list[NewEvent]:
        if "kind" in message:
            event = self._event(EventKind(message["kind"]), message["data"])
            return [event] if event else []
        if "error" in message:
            self.verdict = Failed(from_message(message), self._made(message.get("diagnostic")))
        elif made := self._made(message):
            self.verdict = Completed(made, self._made(message.get("workspace")))
        return []

    def _made(self, message: Message | None) -> Made | None:
        if message is None:
            return None
        path = self._folder / Path(message["file"]).name
        blob, content_type = Blob(message["digest"], message["size"]), message["content_type"]
        parts = parts_of(path, self._folder / FOLDER) if content_type == WORKSPACE else self._beside(message.get("parts", ()))
        return Made(path, blob, content_type, message["metadata"], parts)

    def _beside(self, listed: Sequence[Message]) -> tuple[tuple[Path, Blob], ...]:
        return tuple((self._folder / Path(part["file"]).name, Blob(part["digest"], part["size"])) for part in listed)

    def _event(self, kind: EventKind, data: dict[str, Any]) -> NewEvent | None:
        if kind is EventKind.LOG:
            return self._budget.event(data)
        return NewEvent(kind, data, now()) if kind in _REPORTED else None


def parts_of(listed: Path, folder: Path) -> tuple[tuple[Path, Blob], ...]:
    """The files of a workspace and what they hold, as its list says. Raises ValueError for a list that is none."""
    try:
        workspace = Workspace.from_json(listed.read_bytes())
    except (OSError, ContentCorrupted) as error:
        raise ValueError(str(error)) from error
    return tuple((folder / file.path, file.blob) for file in workspace.files)


class Attempt:
    """The process of a job: what it tells, how it is stopped, and how it ended."""

    def __init__(self, spec: JobSpec, link: ForkServerLink, control: socket.socket, pipes: Sequence[int], log_limit: int) -> None:
        budget = LogBudget(log_limit)
        self._spec = spec
        self._link = link
        self._control = ControlSource(control, spec, budget)
        self._stdout = LineSource(pipes[0], "stdout", budget)
        self._stderr = LineSource(pipes[1], "stderr", budget)
        self._job = 0
        self.ended: asyncio.Future[JobEnd]

    @classmethod
    async def start(cls, link: ForkServerLink, spec: JobSpec, log_limit: int) -> Self:
        """Has the fork server start the process."""
        with ExitStack() as ours, ExitStack() as theirs:
            control, control_end = socket_pair()
            ours.enter_context(control)
            theirs.enter_context(control_end)
            stdout, stdout_end = _pipe(ours, theirs)
            stderr, stderr_end = _pipe(ours, theirs)
            order = write_spec(spec)
            theirs.callback(os.close, order)
            attempt = cls(spec, link, control, (stdout, stderr), log_limit)
            attempt._job, attempt.ended = await link.start((order, control_end.fileno(), stdout_end, stderr_end))
            ours.pop_all()
        return attempt

    @property
    def has_verdict(self) -> bool:
        """Whether the work has come to its own end: a result or an error."""
        return self._control.verdict is not None

    @property
    def diagnostic(self) -> Made | None:
        """What work that did not come to its own end has left to look at; to be asked when all is reported."""
        verdict = self._control.verdict
        return verdict.diagnostic if isinstance(verdict, Failed) else None

    async def report(self, report: Report) -> None:
        """Reports everything that the process tells until no process of the job is left; what was written before is not lost.

        Nothing is read while a report is on its way, so a job that tells more than can be stored has to wait.
        """
        while not self.ended.done():
            await self._input()
            await _deliver(self._read(), report)
            await self._ends_within(_PAUSE_SECONDS)
        await _deliver([event for source in self._sources for event in source.drain()], report)

    async def stop(self, grace: float) -> None:
        """Asks the work to stop, then tells its processes, then kills them; returns when none is left."""
        self._control.ask_to_stop()
        if await self._ends_within(_COOPERATION_SECONDS):
            return
        await self._link.signal(self._job, signal.SIGTERM)
        if await self._ends_within(grace):
            return
        await self.kill()

    async def kill(self) -> None:
        """Kills all processes; returns when none is left."""
        if not self.ended.done():
            await self._link.signal(self._job, signal.SIGKILL)
            await asyncio.wait({self.ended})

    def outcome(self) -> Completed | Failed:
        """How the work ended; to be asked when all is reported."""
        return self._control.verdict or Failed(self._death())

    def close(self) -> None:
        for source in self._sources:
            source.close()

    @property
    def _sources(self) -> tuple[ControlSource, LineSource, LineSource]:
        return (self._control, self._stdout, self._stderr)

    async def _input(self) -> None:
        """Waits until there is something to read, or the job has ended."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        fds = [source.fd for source in self._sources if source.is_open]
        for fd in fds:
            loop.add_reader(fd, _settle, ready)
        try:
            await asyncio.wait({ready, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for fd in fds:
                loop.remove_reader(fd)

    def _read(self) -> list[NewEvent]:
        return [event for source in self._sources if source.is_open for event in source.read()]

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait({self.ended}, timeout=seconds)
        return self.ended.done()

    def _death(self) -> ModelwireError:
        end = self.ended.result()
        if end.status is None:
            return WorkerLost(end.why)
        if end.status >= 0:
            # What it wrote last to standard error often says why.
            return exited(end.status, self._stderr.last_line)
        limits = self._link.limits_of(self._spec.runner_id)
        return killed(-end.status, limits.memory_bytes, limits.cpu_seconds)


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


async def _deliver(events: Sequence[NewEvent], report: Report) -> None:
    if events:
        await report(events)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
