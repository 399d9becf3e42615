"""The server's side of one fork server."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ..errors import WorkerLost
from .linux import kill_marked
from .wire import Message, receive, send, socket_pair

# How long a fork server may take to end all processes when it is told to go, or when it goes by itself.
_FAREWELL_SECONDS = 5.0
# What libraries read to decide how many threads they start.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How the process of a job ended: its exit code, or minus the signal that killed it. Without one the job is lost, and `why`."""

    status: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a runner that the server must know."""

    wall_seconds: float | None = None
    cpu_seconds: int | None = None
    memory_bytes: int | None = None
    output_bytes: int | None = None


class ForkServerLink:
    """A running fork server. `lost` is done when it has gone, for whatever reason, and no process of it is left."""

    def __init__(self, process: Process, link: socket.socket, mark: str) -> None:
        self._process = process
        self._link = link
        self._mark = mark.encode()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Message] = self._loop.create_future()
        self._jobs: dict[int, asyncio.Future[JobEnd]] = {}
        self._count = 0
        self._sending = asyncio.Lock()
        self._may_send = asyncio.Event()
        self._limits: Mapping[str, Limits] = {}
        self.threads: list[str] = []
        self._loop.add_reader(link, self._on_readable)
        self._gone = asyncio.Event()
        self.lost = asyncio.create_task(self._see_off(), name="fork server")

    @classmethod
    async def open(
        cls, targets: Sequence[str], threads_per_job: int, mark: str, private: Sequence[str] = (), *, compile: bool = False
    ) -> Self:
        """Starts a fork server and waits until it has imported the runners. `mark` is a `NAME=value` in the environment of all its
        processes, `private` are files and folders that runners may not copy; with `compile` it then imports what compiles models.
        Raises WorkerLost if it cannot."""
        ours, theirs = socket_pair()
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "modelwire_server.execution.forkserver", str(theirs.fileno()), str(os.getpid())),
                stdin=DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(),),
                env=_environment(threads_per_job, mark),
                start_new_session=True,
            )
        link = cls(process, ours, mark)
        try:
            await link._load(targets, private, compile=compile)
        except BaseException:
            await link.close()
            raise
        return link

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_gone(self) -> bool:
        """Whether it takes no more jobs; `lost` is done a little later."""
        return self._gone.is_set()

    def limits_of(self, runner_id: str) -> Limits:
        return self._limits.get(runner_id, Limits())

    async def start(self, fds: Sequence[int]) -> tuple[int, asyncio.Future[JobEnd]]:
        """Starts the process of a job with its descriptors (spec, control, stdout, stderr); returns the job's number here, and what
        will tell its end. When the fork server is lost, that end is told."""
        self._count += 1
        job, end = self._count, self._loop.create_future()
        self._jobs[job] = end
        try:
            await self._send({"start": job}, fds)
        except BaseException:
            del self._jobs[job]
            raise
        if self.lost.done():
            self._end_all()
        return job, end

    async def signal(self, job: int, signo: signal.Signals) -> None:
        """Signals all processes in the group of a job; nothing happens if it has ended."""
        await self._send({"signal": job, "signo": signo})

    async def close(self) -> None:
        """Ends the fork server and all that runs in it."""
        self._hang_up()
        await asyncio.shield(self.lost)

    async def _load(self, targets: Sequence[str], private: Sequence[str], *, compile: bool) -> None:
        await self._send({"load": list(targets), "path": sys.path, "private": list(private), "compile": compile})
        outcomes: set[asyncio.Future[Any]] = {self._ready, self.lost}
        await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            raise WorkerLost(f"the fork server ended with status {self._process.returncode} while it imported the runners")
        message = self._ready.result()
        if "broken" in message:
            error = WorkerLost(f"the fork server cannot load the runners: {message['broken']}")
            error.traceback = message["traceback"]
            raise error
        self._limits = {name: Limits(**limits) for name, limits in message["ready"].items()}
        self.threads = message["threads"]

    async def _send(self, message: Message, fds: Sequence[int] = ()) -> None:
        async with self._sending:
            while not self.is_gone:
                try:
                    send(self._link, message, fds)
                    break
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    self._hang_up()

    async def _writable(self) -> None:
        self._may_send.clear()
        self._loop.add_writer(self._link, self._may_send.set)
        try:
            await self._may_send.wait()
        finally:
            if not self.is_gone:
                self._loop.remove_writer(self._link)

    def _on_readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while message := receive(self._link):
                self._on_message(message)
            self._hang_up()

    def _on_message(self, message: Message) -> None:
        if "ended" in message:
            self._end(message["ended"], JobEnd(message["status"]))
        elif "refused" in message:
            self._end(message["refused"], JobEnd(None, f"the fork server could not start a process: {message['why']}"))
        else:
            self._ready.set_result(message)

    def _end(self, job: int, end: JobEnd) -> None:
        told = self._jobs.pop(job)
        if not told.done():
            told.set_result(end)

    def _hang_up(self) -> None:
        """Closes the link: the fork server, if it lives, ends everything and goes."""
        if not self.is_gone:
            self._gone.set()
            self._loop.remove_reader(self._link)
            self._loop.remove_writer(self._link)
            self._link.close()
            self._may_send.set()

    async def _see_off(self) -> None:
        """Waits for the fork server to go, makes sure that none of its processes is left, and tells the jobs."""
        await self._gone.wait()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        # One that was killed could not end its processes. They carry its mark, also those that have hidden in sessions of their own.
        await asyncio.to_thread(kill_marked, self._mark)
        self._end_all()

    def _end_all(self) -> None:
        for job in list(self._jobs):
            self._end(job, JobEnd(None, f"the fork server ended with status {self._process.returncode}"))


def _environment(threads: int, mark: str) -> dict[str, str]:
    """The fork server's environment: threads per job, unless the user has chosen a number, and the mark."""
    name, _, value = mark.partition("=")
    return {**thread_variables(threads), **os.environ, name: value}


def thread_variables(threads: int) -> dict[str, str]:
    """Variables that say how many threads libraries start."""
    return {variable: str(threads) for variable in _THREAD_VARIABLES}
