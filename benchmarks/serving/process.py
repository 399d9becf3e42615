"""A server's processes: started on the server's cores, watched, and ended with all that they started."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from .machine import on_server_cores

# A library that takes all cores for one row is slower than with one; the same for every server.
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
GRACE_SECONDS = 10


class ServerEndedError(Exception):
    """A server ended by itself; the text is what its log says last of an error."""


class Processes:
    """A server's process and all below it. Those whose command has `beside` in it do other things than to predict."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, beside: str = "") -> None:
        self._process = process
        self._log = log
        self._beside = beside
        self._known: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def require_alive(self) -> None:
        """Raises ServerEndedError."""
        if self._process.poll() is not None:
            raise ServerEndedError(_reason(self._log) or f"ended with {self._process.returncode}")

    def all(self) -> list[psutil.Process]:
        """Those that are running."""
        try:
            top = psutil.Process(self._process.pid)
            found = [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            found = []
        self._known.update({process.pid: process for process in found})
        return found

    def peak_bytes(self) -> int:
        """The most memory that one of the processes has had since it began; of those that may predict, that is the one which does."""
        return max((_status(process.pid, "VmHWM") for process in self.all() if not self._is_beside(process)), default=0)

    def _is_beside(self, process: psutil.Process) -> bool:
        try:
            return bool(self._beside) and self._beside in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            return True

    def resident_bytes(self) -> tuple[int, int]:
        """The memory of the process that was started, and of all together."""
        sizes = {process.pid: _status(process.pid, "VmRSS") for process in self.all()}
        return sizes.get(self.pid, 0), sum(sizes.values())

    def cpu_seconds(self) -> float:
        """Processor time of all processes until now, ended ones included."""
        spent = [one for process in self.all() if (one := _cpu_times(process))]
        return float(sum(one.user + one.system + one.children_user + one.children_system for one in spent))

    def end(self) -> None:
        """Asks nicely first; what is left then, daemons included, is killed."""
        self.all()
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        left = [process for process in self._known.values() if process.is_running()]
        for process in left:
            process.kill()
        psutil.wait_procs(left, GRACE_SECONDS)


@contextmanager
def running(command: Sequence[str], log: Path, variables: Mapping[str, str], folder: Path, beside: str = "") -> Iterator[Processes]:
    environment = {**os.environ, **SINGLE_THREADED, **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with log.open("wb") as output:
        process = on_server_cores(
            lambda: subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
            )
        )
    processes = Processes(process, log, beside)
    try:
        yield processes
    finally:
        processes.end()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _cpu_times(process: psutil.Process) -> Any:
    try:
        return process.cpu_times()
    except psutil.NoSuchProcess:
        return None


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def _reason(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or [""])[-1].strip()
