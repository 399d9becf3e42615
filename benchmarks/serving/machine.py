"""The machine: which cores are whose, and what it was doing besides."""

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
# Environments of the peers, the load generator, data of servers: all that can be made again.
BENCH = ROOT / ".bench"
CORES = sorted(os.sched_getaffinity(0))
# With fewer than four cores everybody shares them, and the figures say less.
SERVER_CORES = set(CORES[:2] if len(CORES) >= 4 else CORES)
LOAD_CORES = set(CORES[2:4] if len(CORES) >= 4 else CORES)

Made = TypeVar("Made")


def on_server_cores(start: Callable[[], Made]) -> Made:
    return _on(SERVER_CORES, start)


def on_load_cores(start: Callable[[], Made]) -> Made:
    return _on(LOAD_CORES, start)


def _on(cores: set[int], start: Callable[[], Made]) -> Made:
    """What is started meanwhile inherits the cores, with all the threads and processes that it ever has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return start()
    finally:
        os.sched_setaffinity(0, before)


class Host:
    """Whose machine this is, where it is a virtual one: it may take the cores for others, which looks like a slow server."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), _stolen_seconds()

    def taken(self) -> float:
        """The share of the time of the cores that the host has taken since this was made."""
        seconds = (time.monotonic() - self._began) * len(SERVER_CORES | LOAD_CORES)
        return (_stolen_seconds() - self._before) / seconds


def _stolen_seconds() -> float:
    """What the kernel counts as stolen on the cores in use, all together."""
    used = {f"cpu{core}" for core in SERVER_CORES | LOAD_CORES}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    return sum(int(fields[8]) for fields in lines if fields[0] in used) / os.sysconf("SC_CLK_TCK")


def busy() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def facts() -> str:
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(CORES)} cores, {gibibytes:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()} with {_libraries()}; servers on cores {_list(SERVER_CORES)}, load on cores {_list(LOAD_CORES)}"
    )


def _libraries() -> str:
    """Those of modelwire and the echo; the peers bring their own."""
    return ", ".join(f"{name} {version(name)}" for name in ("grpcio", "pyarrow", "scikit-learn", "onnxruntime"))


def _list(cores: set[int]) -> str:
    return ",".join(str(core) for core in sorted(cores))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
