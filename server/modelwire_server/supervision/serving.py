"""`modelwire serve` with several workers: the supervisor's process, which imports neither runners nor gRPC."""

import asyncio
import base64
import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import structlog

from ..data_folder import claim_data_dir, worker_id
from ..execution.link import thread_variables
from ..execution.wire import Message
from ..logs import configure_logs
from ..ports import Ports, open_ports
from ..running import Running, ServedRunner
from ..settings import Settings
from .supervisor import Supervisor
from .template import Template

log = structlog.get_logger(__name__)

# What is forked, by name: this process does not import it.
TEMPLATE = "modelwire_server.workers"
# Connections stay with the process that took them. They have to come anew now and then for a process to be replaced unnoticed.
LONGEST_CONNECTION_AGE = 60.0
# What is left to do when calls and jobs have had their time.
FAREWELL_SECONDS = 15.0


def serve(settings: Settings, announce: Callable[[Running], None] = lambda running: None) -> None:
    """Supervises the workers of a server until it is told to stop. Raises StartError."""
    configure_logs(settings.log_level, settings.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, announce))


async def _serve(settings: Settings, announce: Callable[[Running], None]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        data_dir = claim_data_dir(stack, settings.data_dir)
        ports = stack.enter_context(open_ports(settings.host, settings.grpc_port, settings.http_port, share=settings.reuse_port))
        supervisor = Supervisor(
            partial(launch, settings_of_workers(settings.model_copy(update={"data_dir": data_dir}), ports)),
            ports.http_listener,
            workers=settings.workers,
            timeout=settings.worker_timeout,
            identity=worker_id(data_dir),
        )
        stack.push_async_callback(supervisor.stop, settings.drain_seconds + FAREWELL_SECONDS)
        loop.add_signal_handler(signal.SIGHUP, _on_hang_up, supervisor, stop, _has_terminal())
        starting = asyncio.create_task(supervisor.start())
        await _unless(stop, starting)
        if not starting.cancelled():
            running = _running(settings, ports, starting.result())
            log.info(
                "serving", host=running.host, workers=settings.workers, **ports.numbers, runners=[r.id for r in running.runners]
            )
            announce(running)
            await stop.wait()
        log.info("shutting down")


def settings_of_workers(settings: Settings, ports: Ports) -> Settings:
    """The settings of each worker: the ports are known, and what one server has of something is shared out."""
    age = min(settings.max_connection_age, LONGEST_CONNECTION_AGE)
    lifetime = settings.max_connection_age + settings.max_connection_age_grace
    shared = settings.blob_cache_bytes // (settings.workers + 1)
    return settings.model_copy(
        update={
            **ports.numbers,
            "reuse_port": True,
            "max_connection_age": age,
            "max_connection_age_grace": lifetime - age,
            "blob_cache_bytes": type(settings.blob_cache_bytes)(shared),
        }
    )


async def launch(settings: Settings) -> tuple[Template, Message]:
    """Starts a template; returns it with what it tells of the runners. Raises StartError."""
    cores = len(os.sched_getaffinity(0))
    # The libraries of each worker start threads for its share of the cores.
    threads = thread_variables(max(1, cores // settings.workers))
    chosen = {name: value for name, value in threads.items() if name not in os.environ}
    load = {
        "settings": base64.b64encode(pickle.dumps(settings)).decode(),
        "path": sys.path,
        "chosen": list(chosen),
    }
    return await Template.launch(TEMPLATE, load, chosen)


def _running(settings: Settings, ports: Ports, told: Message) -> Running:
    return Running(settings.host, **ports.numbers, runners=[ServedRunner(**runner) for runner in told["runners"]])


async def _unless(stop: asyncio.Event, starting: asyncio.Task[Message]) -> None:
    """Waits for the start, unless it is to stop before."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})


def _on_hang_up(supervisor: Supervisor, stop: asyncio.Event, had_terminal: bool) -> None:
    """SIGHUP means: renew the workers. From a terminal that has been closed it means the end."""
    if had_terminal and not _has_terminal():
        stop.set()
    else:
        supervisor.renew()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
