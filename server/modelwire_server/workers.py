"""What the processes of a server with several workers do: the template, which has imported everything, and those that it forks.

Those that answer calls have everything but what works by itself: that is the business of one process, which runs jobs, looks after the
storage and keeps the server registered.
"""

import asyncio
import base64
import contextlib
import os
import pickle
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import structlog

from modelwire_runners import TargetError
from modelwire_runners.predictor import self_tests_later

from . import app, event_loop
from .common_page import CommonPage
from .cores import available_cores, keep_to, own_core
from .database.neighbours import Neighbours
from .database.notifications import Listener
from .errors import Degraded, ModelwireError, StartError
from .execution.content import warm_up
from .execution.elsewhere import DistantExecutor, WorkForOthers
from .execution.interface import Executor
from .execution.linux import die_with_parent
from .execution.local import LocalExecutor
from .execution.randomness import ChosenSeeds, Generators
from .execution.wire import Message, clip, receive_with_fds, send
from .front import open_front
from .gateway.system import Check
from .ground import DATABASE_FILE, Ground, local_executor, open_blobs, open_database
from .jobs.dispatcher import Dispatcher
from .logs import configure_logs
from .memory import tune_memory
from .orchestration.registration import Registration
from .runners import RunnerRegistry
from .settings import Settings
from .supervision.forking import Template
from .supervision.member import Member
from .supervision.seats import CALLS, JOBS

log = structlog.get_logger(__name__)

# How much longer than their age connections may take to be closed: gRPC has some begin sooner and some later.
_AGE_MARGIN, _AGE_MARGIN_SECONDS = 1.2, 5.0
_COMMAND_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the template has for all that it forks. `chosen` are the environment variables that were set for those that answer calls."""

    settings: Settings
    runners: RunnerRegistry
    chosen: Sequence[str]


def main() -> None:
    """`python -m modelwire_server.workers SOCKET SUPERVISOR_PID`"""
    tune_memory()
    link, supervisor = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    die_with_parent(supervisor, signal.SIGKILL)
    link.set_inheritable(False)
    warnings.filterwarnings("ignore", "This process.*is multi-threaded", DeprecationWarning)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the supervisor, which ends all in good order. Not ignored, which programs that are started here would inherit.
        signal.signal(number, lambda *_: None)
    received = receive_with_fds(link)
    if received is None:
        return
    try:
        loaded, seeds = _load(received[0]["load"])
    except Exception as error:
        told = clip("".join(traceback.format_exception(error)), 65536, keep_end=True)
        send(link, {"broken": clip(_why(error), 4096), "traceback": told})
        return
    send(link, {"runners": [asdict(runner) for runner in app.shown(loaded.runners)]})
    Template(link, seeds, partial(live, loaded)).serve()


def _load(load: Message) -> tuple[Loaded, ChosenSeeds]:
    sys.path[:] = load["path"]
    settings: Settings = pickle.loads(base64.b64decode(load["settings"]))
    configure_logs(settings.log_level, settings.log_format, worker="template")
    warm_up()
    before = Generators.capture()
    with self_tests_later():
        # Libraries that models call may start threads, which would not survive a fork.
        runners = RunnerRegistry.load(settings.targets, settings.all_expected_models)
    seeds = ChosenSeeds(before, Generators.capture())
    sys.stdout.flush()
    return Loaded(settings, runners, load["chosen"]), seeds


def _why(error: Exception) -> str:
    """Why something does not start, in a sentence."""
    if isinstance(error, TargetError | StartError):
        return str(error)
    first = next(iter(str(error).splitlines()), "")
    kind = "" if isinstance(error, ModelwireError) else f"{type(error).__name__}: "
    return f"the server cannot start: {kind}{first}"


def live(loaded: Loaded, order: Message, link: socket.socket, fds: Sequence[int]) -> int:
    """The life of a forked process; returns its exit code."""
    settings, seat = loaded.settings, order["seat"]
    configure_logs(settings.log_level, settings.log_format, worker=seat)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"modelwire {seat}"[:_COMMAND_LENGTH])
    if order["role"] == CALLS and settings.pin_workers and (core := own_core(int(seat), settings.workers)) is not None:
        keep_to(core)
    return event_loop.run(_work(loaded, order, link, fds), settings.busy_seconds)


async def _work(loaded: Loaded, order: Message, link: socket.socket, fds: Sequence[int]) -> int:
    member = Member(link, min(1.0, loaded.settings.worker_timeout / 4))
    try:
        async with AsyncExitStack() as stack:
            if order["role"] == JOBS:
                await run_jobs(stack, member, loaded, identity=order["identity"], is_first=order["first"])
            else:
                await answer_calls(stack, member, loaded, socket.socket(fileno=fds[0]))
    except (StartError, ModelwireError) as error:
        member.failed(_why(error))
        return 1
    except Exception as error:
        member.failed(_why(error))
        log.exception("the worker ends")
        return 1
    finally:
        await member.close()
    return 0


async def answer_calls(stack: AsyncExitStack, member: Member, loaded: Loaded, http: socket.socket) -> None:
    """Serves callers until others do; `http` listens for them. Raises StartError, StorageUnavailable."""
    settings = loaded.settings
    executor = DistantExecutor(partial(member.connect, "work"))
    ground = await _ground(stack, member, loaded, executor)
    parts = app.assemble(ground)
    await parts.domain.predictors.prove()
    stack.callback(parts.predictor.close)
    metrics = app.metrics_of_process(ground, parts)
    page = CommonPage(member, metrics)
    checks = _checks(member, ground)
    front = await open_front(parts.domain, settings, metrics=metrics, page=page, checks=checks, http_socket=http)
    _hear(member, parts.listener)
    await app.begin_service(stack, parts)
    app.attend(stack, parts)
    await front.start()
    app.spare_collector()
    member.answers("metrics", page.answer)
    member.ready()
    await member.told_to_go()
    await _unless(member.stop, front.leave(settings.max_connection_age * _AGE_MARGIN + _AGE_MARGIN_SECONDS))
    parts.queue.open = False
    await front.health.draining()
    await front.stop(settings.drain_seconds)
    await page.keep()


async def run_jobs(stack: AsyncExitStack, member: Member, loaded: Loaded, *, identity: str, is_first: bool) -> None:
    """Runs jobs, and all else that works by itself, until another process does. Raises StartError, StorageUnavailable."""
    for name in loaded.chosen:
        os.environ.pop(name, None)
    settings = loaded.settings
    ground = await _ground(stack, member, loaded, None, identity)
    assert isinstance(ground.executor, LocalExecutor)
    launching = asyncio.create_task(ground.executor.start())
    # It says itself what goes wrong, and is started again when there is a job.
    launching.add_done_callback(lambda task: task.cancelled() or task.exception())
    parts = app.assemble(ground)
    stack.callback(parts.predictor.close)
    page = CommonPage(member, app.metrics_of(ground, parts))
    _hear(member, parts.listener)
    await app.begin_work(stack, parts)
    app.spare_collector()
    member.answers("metrics", page.answer)
    work = WorkForOthers(ground.executor, available_cores())
    member.answers("work", work.answer)
    registration = app.registration_of(settings, required=settings.registration_required and is_first)
    if registration is not None:
        member.answers("registration", partial(_tell_of, registration))
    member.ready()
    if registration is not None:
        # One that has left is registered by its successor.
        stack.push_async_callback(lambda: registration.close(farewell=not member.leave.is_set()))
        await app.register(registration, settings, settings.http_port)
    member.established()
    await member.told_to_go()
    if member.leave.is_set():
        await parts.upkeep.close()
        await parts.followed.close()
        if registration is not None:
            await registration.close(farewell=False)
        await _unless(member.stop, _see_to_the_end(parts.dispatcher, work))
    await parts.dispatcher.drain(settings.drain_seconds)
    if member.stop.is_set():
        # Calls that are drained elsewhere may need work done here.
        await member.until_nobody_serves()
    await page.keep()


async def _see_to_the_end(dispatcher: Dispatcher, work: WorkForOthers) -> None:
    """Takes no more jobs, and waits for the end of all that was begun."""
    await dispatcher.retire()
    await work.idle()


async def _ground(stack: AsyncExitStack, member: Member, loaded: Loaded, executor: Executor | None, identity: str = "") -> Ground:
    """What each process stands on; without an executor given, it gets one for jobs."""
    settings = loaded.settings
    data_dir = settings.data_dir
    blobs = await open_blobs(stack, settings, data_dir)
    if executor is None:
        executor = local_executor(stack, settings, data_dir, blobs, identity)
    neighbours = None if _is_remote(settings) else Neighbours(data_dir / f"{DATABASE_FILE}-turn", member.tell)
    database = await open_database(stack, settings, data_dir, neighbours)
    return Ground(
        settings=settings,
        data_dir=data_dir,
        blobs=blobs,
        database=database,
        executor=executor,
        runners=loaded.runners,
        worker_id=identity,
    )


def _is_remote(settings: Settings) -> bool:
    return settings.database_url.startswith("postgres")


def _hear(member: Member, listener: Listener) -> None:
    member.on_notice = listener.hear
    member.on_missed = listener.missed


def _checks(member: Member, ground: Ground) -> dict[str, Check]:
    checks: dict[str, Check] = {"database": ground.database.check, "workers": partial(_check_crew, member)}
    if ground.settings.orchestrator_url:
        checks["registration"] = partial(_check_registration, member)
    return checks


async def _check_crew(member: Member) -> None:
    """Raises Degraded while somebody is missing."""
    crew = member.crew
    if crew.serving < crew.wanted:
        raise Degraded(f"{crew.serving} of {crew.wanted} workers serve; others are started")
    if not crew.has_jobs:
        raise Degraded("the process that runs jobs is being started")


async def _check_registration(member: Member) -> None:
    """Raises Degraded as the registration itself would."""
    links = await member.connect("registration")
    if not links:
        raise Degraded("the process that keeps this server registered is being started")
    reader, writer = await asyncio.open_unix_connection(sock=links[0])
    try:
        trouble = await reader.read()
    finally:
        writer.close()
    if trouble:
        raise Degraded(trouble.decode())


async def _tell_of(registration: Registration, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await registration.check()
    except Degraded as error:
        writer.write(str(error).encode())
        await writer.drain()


async def _unless(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Does the work to its end, but no further once the event is set."""
    working, told = asyncio.create_task(work), asyncio.create_task(event.wait())
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not working.done():
        working.cancel()
    await asyncio.wait({working})
    if not working.cancelled():
        working.result()


if __name__ == "__main__":
    main()
