"""Runs jobs on this machine, each in a process that is forked from a warm fork server."""

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from ..errors import DeadlineExceeded, WorkerLost
from .attempt import Attempt
from .interface import Failed, JobSpec, Outcome, Report, Stopped, StopSignal
from .link import ForkServerLink
from .linux import kill_marked

log = structlog.get_logger(__name__)

# A fork server that dies again and again is started again ever more slowly.
_LOSS_MEMORY_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class LocalExecutor:
    """An Executor whose jobs are processes on this machine.

    `targets` say where the runners are, as for load_runner(). `slots` is how many jobs are expected to run at once: each gets its share of
    the cores for the threads of numeric libraries. `grace` is the time in seconds between SIGTERM and SIGKILL. `log_limit` is how many
    bytes a job may log, if its runner does not say. `private` are files and folders of the server that no job gets a copy of.
    `owner` is a name that no other executor on this machine has at the same time. With `compile` jobs find loaded what compiles models.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        slots: int | None = None,
        grace: float = 2.0,
        log_limit: int = 10 * 1024 * 1024,
        private: Sequence[Path] = (),
        owner: str = "",
        compile: bool = False,
    ) -> None:
        cores = len(os.sched_getaffinity(0))
        self._targets = list(targets)
        self._threads = max(1, cores // (slots or cores))
        self._grace = grace
        self._log_limit = log_limit
        self._private = [str(path) for path in private]
        self._owner = owner
        self._compile = compile
        self._mark = f"MODELWIRE_FORK_SERVER={owner or secrets.token_hex(16)}"
        self._opening: asyncio.Task[ForkServerLink] | None = None
        self._losses: deque[float] = deque()
        self._closing = False

    async def start(self) -> None:
        """Ends what an earlier executor of this owner has left, and starts the fork server. Raises WorkerLost when it cannot load the
        runners."""
        if self._owner:
            # Its fork server would have done so, but may have been killed as well.
            kill_marked(self._mark.encode())
        await self._link()

    async def close(self) -> None:
        """Ends the fork server, and with it jobs that still run: they are Failed(WorkerLost)."""
        self._closing = True
        if self._opening is None:
            return
        self._opening.cancel()
        await asyncio.wait({self._opening})
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self._opening.result().close()

    @property
    def fork_server_pid(self) -> int | None:
        """The process id of the fork server, None while there is none."""
        opening = self._opening
        if opening is None or not opening.done() or opening.cancelled() or opening.exception() is not None:
            return None
        return opening.result().pid

    async def run(self, spec: JobSpec, report: Report, stop: StopSignal) -> Outcome:
        """See Executor.run(). What `report` raises is raised, after the job is killed."""
        stopping = asyncio.create_task(stop.wait())
        try:
            link = await self._link_unless(stopping)
            return Stopped() if link is None else await self._run(link, spec, report, stopping)
        except WorkerLost as error:
            return Failed(error)
        finally:
            stopping.cancel()

    async def _run(self, link: ForkServerLink, spec: JobSpec, report: Report, stopping: asyncio.Task[None]) -> Outcome:
        spec = replace(spec, timeout=_smallest(spec.timeout, link.limits_of(spec.runner_id).wall_seconds))
        attempt = await Attempt.start(link, spec, link.limits_of(spec.runner_id).output_bytes or self._log_limit)
        reporting = asyncio.create_task(attempt.report(report))
        try:
            await asyncio.wait({reporting, stopping}, timeout=spec.timeout, return_when=asyncio.FIRST_COMPLETED)
            early = None if reporting.done() or attempt.has_verdict else _early_end(spec, stopping)
            if not reporting.done():
                await attempt.stop(self._grace)
            await reporting
            if isinstance(early, Failed):
                return replace(early, diagnostic=attempt.diagnostic)
            return early or attempt.outcome()
        except asyncio.CancelledError:
            await _to_its_end(attempt.stop(self._grace))
            raise
        finally:
            # What is left to do if a report failed, or this was canceled.
            reporting.cancel()
            await _to_its_end(attempt.kill())
            await asyncio.wait({reporting})
            attempt.close()

    async def _link_unless(self, stopping: asyncio.Task[None]) -> ForkServerLink | None:
        """The link to a fork server that is ready, None if it comes to `stopping` before."""
        link = asyncio.ensure_future(self._link())
        try:
            await asyncio.wait({link, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return None if stopping.done() else link.result()
        finally:
            link.cancel()

    async def _link(self) -> ForkServerLink:
        if self._closing:
            raise WorkerLost("the executor is closed")
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._open()
        assert self._opening is not None
        link = await asyncio.shield(self._opening)
        if link.is_gone:
            await asyncio.wait({link.lost})
            return await self._link()
        return link

    def _open(self) -> None:
        self._opening = asyncio.create_task(self._opened(), name="start of the fork server")
        # Retrieves the exception of a start that nobody waits for.
        self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _opened(self) -> ForkServerLink:
        await asyncio.sleep(self._pause())
        try:
            link = await ForkServerLink.open(self._targets, self._threads, self._mark, self._private, compile=self._compile)
        except WorkerLost as error:
            self._losses.append(_time())
            log.error("fork server cannot start", error=error.message)
            raise
        link.lost.add_done_callback(lambda _: self._on_lost())
        log.info("fork server started", pid=link.pid, threads_per_job=self._threads)
        if link.threads:
            log.warning("the runners' modules start threads when imported; forked jobs may hang", threads=link.threads)
        return link

    def _on_lost(self) -> None:
        if not self._closing:
            log.error("fork server is lost; another is started")
            self._losses.append(_time())
            self._open()

    def _pause(self) -> float:
        """How long to wait before the next start, given the recent losses: none after the first."""
        while self._losses and self._losses[0] < _time() - _LOSS_MEMORY_SECONDS:
            self._losses.popleft()
        again = len(self._losses) - 1
        return 0.0 if again < 1 else min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (again - 1))


def _early_end(spec: JobSpec, stopping: asyncio.Task[None]) -> Outcome:
    """The outcome of work that does not end by itself."""
    if stopping.done():
        return Stopped()
    return Failed(DeadlineExceeded(f"the work took longer than its timeout of {spec.timeout:g} s", timeout=spec.timeout))


def _smallest(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


async def _to_its_end(work: Coroutine[object, object, None]) -> None:
    """Awaits the work also when this is canceled meanwhile, which it passes on afterwards."""
    task = asyncio.ensure_future(work)
    canceled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            canceled = True
    if canceled:
        raise asyncio.CancelledError
    task.result()


def _time() -> float:
    return asyncio.get_running_loop().time()
