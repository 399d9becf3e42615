"""Keeps the processes of a server at work: replaces those that end or are stuck, renews them all, and ends them in good order."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from ..errors import StartError
from ..execution.wire import Message
from .seats import CALLS, JOBS, Seat
from .template import Broken, Template, Worker

log = structlog.get_logger(__name__)

# Starts a template; returns it with what it tells of the runners. Raises StartError.
Launch = Callable[[], Awaitable[tuple[Template, Message]]]

# What only the process that runs jobs answers.
_ABOUT_JOBS = ("work", "registration")
_LOOK_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Supervisor:
    """Has `workers` processes answer calls, each with a socket of `listen`, and one run jobs.

    One that was not heard of for `timeout` seconds is killed. `identity` is the name under which jobs are taken.
    """

    def __init__(self, launch: Launch, listen: Callable[[], socket.socket], *, workers: int, timeout: float, identity: str) -> None:
        self._launch = launch
        self._listen = listen
        self._timeout = timeout
        self._identities = (identity, f"{identity}-b")
        self._jobs = Seat("jobs", JOBS, identity)
        self._seats = [*(Seat(str(number), CALLS) for number in range(1, workers + 1)), self._jobs]
        # Others are those of workers that leave, and one whose workers are to come.
        self._template: Template | None = None
        self._others: list[Template] = []
        self._launching = asyncio.Lock()
        self._renewal = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._restarts = 0
        self._departed = b""

    async def start(self) -> Message:
        """Starts all processes; returns what is told of the runners. Raises StartError."""
        template, served = await self._launch()
        self._template = template
        await self._begin(self._jobs, template)
        calls = [seat for seat in self._seats if seat is not self._jobs]
        await asyncio.gather(*(self._begin(seat, template) for seat in calls))
        assert self._jobs.worker is not None
        await _first(self._jobs.worker.established.wait(), self._jobs.worker.end())
        _require(self._jobs.worker, self._jobs.is_serving)
        for seat in self._seats:
            self._spawn(self._keep(seat))
        self._spawn(self._renew_when_told())
        self._watching = asyncio.create_task(self._watch(), name="watch")
        return served

    def renew(self) -> None:
        """Has all processes replaced by such that have imported everything anew."""
        self._renewal.set()

    async def stop(self, seconds: float) -> None:
        """Ends all processes; those that are left after so long are killed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        workers = self._workers
        for worker in workers:
            worker.send({"go": "stop"})
        for seat in self._seats:
            seat.close()
        if workers:
            _, left = await asyncio.wait([worker.ended for worker in workers], timeout=seconds)
            if left:
                log.error("some processes do not end; they are killed", processes=len(left))
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(template.close() for template in self._all_templates))

    @property
    def _all_templates(self) -> list[Template]:
        return [*([self._template] if self._template else []), *self._others]

    @property
    def _workers(self) -> list[Worker]:
        return [worker for template in self._all_templates for worker in template.workers]

    async def _begin(self, seat: Seat, template: Template) -> None:
        """Has a seat taken for the first time. Raises StartError."""
        seat.worker = self._fork(seat, template, first=True)
        _require(seat.worker, await seat.worker.begun())

    def _fork(self, seat: Seat, template: Template, *, identity: str = "", first: bool = False) -> Worker:
        order = {"identity": identity or seat.identity, "first": first}
        if seat.role == CALLS and seat.listener is None:
            seat.listener = self._listen()
        fds = [seat.listener.fileno()] if seat.listener is not None else []
        return template.fork(seat.name, seat.role, order, self._on_message, self._on_end, fds)

    async def _keep(self, seat: Seat) -> None:
        """Has a seat taken whenever its process has ended."""
        while True:
            worker = seat.worker
            assert worker is not None
            status = await worker.end()
            if seat.worker is not worker:
                continue
            seat.backoff.ended(worker.served_for)
            pause = seat.backoff.pause
            self._restarts += 1
            log.error("a worker has ended; another takes its place", worker=seat.name, status=status, why=worker.why, pause=pause)
            if pause:
                seat.close()
                await asyncio.sleep(pause)
            template = await self._living_template()
            if seat.worker is worker:
                seat.worker = self._fork(seat, template)
                if await seat.worker.begun():
                    log.info("the worker is replaced", worker=seat.name)

    async def _living_template(self) -> Template:
        async with self._launching:
            for attempt in itertools.count():
                if self._template is not None and not self._template.is_gone:
                    return self._template
                await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, 2.0**attempt) if attempt else 0)
                try:
                    self._template, _ = await self._launch()
                except StartError as error:
                    log.error("workers cannot be replaced", error=str(error))
        raise AssertionError

    async def _watch(self) -> None:
        """Kills workers that are not heard of any more."""
        pause = min(_LOOK_SECONDS, self._timeout / 4)
        while True:
            looked_at = time.monotonic()
            await asyncio.sleep(pause)
            now = time.monotonic()
            # Whoever has slept too long itself has heard nobody.
            slept = now - looked_at > 2 * pause
            for worker in self._workers:
                if slept:
                    worker.beat = now
                elif now - worker.beat > self._timeout:
                    log.error("a worker is stuck and is killed", worker=worker.seat, silent_for=round(now - worker.beat, 1))
                    worker.kill()

    async def _renew_when_told(self) -> None:
        while True:
            await self._renewal.wait()
            self._renewal.clear()
            log.info("renewing all workers")
            try:
                template, _ = await self._launch()
            except StartError as error:
                trace = error.traceback if isinstance(error, Broken) else ""
                log.error("the workers that serve go on: there can be no new ones", error=str(error), traceback=trace)
                continue
            await self._renew(template)

    async def _renew(self, template: Template) -> None:
        """Replaces the workers one by one by those of another template: each takes its place before the one there before leaves."""
        self._others.append(template)
        for seat in self._seats:
            if not await self._succeed(seat, template):
                log.error("the workers that serve go on: a new one does not start", worker=seat.name)
                break
            if self._template is not template:
                # From now on those that end are replaced by new ones.
                self._others = [*(other for other in self._all_templates if other is not template)]
                self._template = template
        else:
            log.info("all workers are renewed")
        for other in self._others:
            self._spawn(self._dismiss(other))

    async def _succeed(self, seat: Seat, template: Template) -> bool:
        """Replaces the worker of a seat; whether that was possible."""
        identity = await self._other_identity() if seat is self._jobs else ""
        worker = self._fork(seat, template, identity=identity)
        if not await worker.begun():
            return False
        predecessor, seat.worker, seat.identity = seat.worker, worker, identity
        assert predecessor is not None
        self._tell_crew()
        predecessor.send({"go": "leave"})
        if seat is not self._jobs:
            # One at a time: there is memory for one more, not for twice as many.
            await predecessor.end()
        return True

    async def _other_identity(self) -> str:
        """What a worker of jobs leaves behind when it is killed is found by its identity. Two may live: one that takes jobs, and its
        predecessor, which sees those to their end that it has. If there is such a one already, it has to hurry."""
        for worker in self._workers:
            if worker.role == JOBS and worker is not self._jobs.worker:
                worker.send({"go": "stop"})
                await worker.end()
        return next(name for name in self._identities if name != self._jobs.identity)

    async def _dismiss(self, template: Template) -> None:
        """Ends a template when its workers have ended."""
        while template.workers:
            await template.workers[0].end()
        await template.close()
        if template in self._others:
            self._others.remove(template)

    def _on_message(self, worker: Worker, message: Message, fds: list[int]) -> None:
        worker.beat = time.monotonic()
        match message:
            case {"notice": notice}:
                self._pass_on(worker, notice)
            case {"ready": _}:
                worker.begins()
                self._tell_crew()
            case {"established": _}:
                worker.established.set()
            case {"failed": why}:
                worker.why = why
            case {"connect": number, "about": about}:
                self._connect(worker, number, about)
            case {"keep": name}:
                worker.keep(name, fds.pop())
        for fd in fds:
            os.close(fd)

    def _on_end(self, worker: Worker) -> None:
        self._tell_crew()
        if kept := worker.take("metrics"):
            from ..exposition import lasting, merged, packed, unpacked

            before = [unpacked(self._departed)] if self._departed else []
            self._departed = packed(merged([*before, lasting(unpacked(kept))]))

    def _pass_on(self, sender: Worker, notice: str) -> None:
        for worker in self._workers:
            if worker is not sender and worker.line is not None:
                worker.line.tell(notice)

    def _tell_crew(self) -> None:
        calls = [seat.is_serving for seat in self._seats if seat is not self._jobs]
        crew = {"serving": sum(calls), "wanted": len(calls), "has_jobs": self._jobs.is_serving, "restarts": self._restarts}
        for worker in self._workers:
            worker.send({"crew": crew})

    def _connect(self, worker: Worker, number: int, about: str) -> None:
        """Gives a worker a connection with each other one that answers."""
        others = [self._jobs.worker] if about in _ABOUT_JOBS else self._workers
        for other in others:
            if other is not None and other is not worker and other.is_serving:
                one, another = socket.socketpair()
                with one, another:
                    if other.send({"connection": about}, [one.fileno()]):
                        worker.send({"connected": number}, [another.fileno()])
        if about == "metrics" and self._departed:
            self._speak(worker, number, self._departed)
        worker.send({"connected": number})

    def _speak(self, worker: Worker, number: int, content: bytes) -> None:
        """Answers itself."""
        one, another = socket.socketpair()
        one.setblocking(False)
        with another:
            worker.send({"connected": number}, [another.fileno()])

        async def speak() -> None:
            with one, contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(one, content)

        self._spawn(speak())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("the supervisor itself has failed", exc_info=error)


def _require(worker: Worker, condition: bool) -> None:
    if not condition:
        status = worker.ended.result() if worker.ended.done() else "unknown"
        raise StartError(worker.why or f"the server cannot start: one of its processes ended with status {status}")


async def _first(*outcomes: Coroutine[None, None, object]) -> None:
    """Waits for the first of these."""
    waiting = [asyncio.create_task(outcome) for outcome in outcomes]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
