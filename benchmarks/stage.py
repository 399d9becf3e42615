"""What the benchmarks have in common: a server on cores of its own, and its database."""

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

TRIVIAL = f"{Path(__file__).parent / 'trivial.py'}:runner"
WAITING = f"{Path(__file__).parent / 'trivial.py'}:waiting"
CORES = sorted(os.sched_getaffinity(0))
# With fewer than four cores everybody shares them, and the figures say less.
SERVER_CORES = set(CORES[:2] if len(CORES) >= 4 else CORES)
LOAD_CORES = set(CORES) - SERVER_CORES or SERVER_CORES


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started for a benchmark."""

    target: str
    pid: int
    http_port: int


def cpu_seconds(server: Server) -> float:
    """Processor time of a server and all its processes until now, ended ones included."""
    process = psutil.Process(server.pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(time.user + time.system + time.children_user + time.children_system for time in times)


def keep_off_the_server() -> None:
    """Leaves the server's cores to it; processes that are started from here inherit that."""
    os.sched_setaffinity(0, LOAD_CORES)


def conditions() -> str:
    load, _, _ = os.getloadavg()
    return f"Python {platform.python_version()}, server on {len(SERVER_CORES)} of {len(CORES)} cores, load average {load:.1f}"


@contextmanager
def serving(runner: str, folder: Path, *options: str) -> Iterator[Server]:
    """A server that keeps its data in this folder; it ends with the block."""
    port, http_port = free_port(), free_port()
    command = [str(Path(sys.executable).parent / "modelwire"), "serve", runner]
    command += [f"--grpc-port={port}", f"--http-port={http_port}", f"--data-dir={folder}", "--log-level=warning", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # Before it has threads or processes of its own, which inherit that.
    os.sched_setaffinity(process.pid, SERVER_CORES)
    try:
        yield Server(f"127.0.0.1:{port}", process.pid, http_port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextmanager
def server_on(database: str, runner: str = TRIVIAL) -> Iterator[Server]:
    """A server with one of the databases, all thrown away in the end."""
    with ExitStack() as until_the_end:
        url = until_the_end.enter_context(DATABASES[database]())
        folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory()))
        yield until_the_end.enter_context(serving(runner, folder, *([f"--database-url={url}"] if url else [])))


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a database in a PostgreSQL of its own, which is thrown away."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from postgres import postgres_server

    with postgres_server() as server, server.database() as url:
        yield url


def sqlite() -> AbstractContextManager[str]:
    """The default needs no URL."""
    return nullcontext("")


DATABASES: dict[str, Callable[[], AbstractContextManager[str]]] = {"sqlite": sqlite, "postgresql": postgresql}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
