"""A real server in a process of its own, as a user would start it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from arrivals import has_arrived
from free_ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNNERS = Path(__file__).parent / "runners"


class ServerProcess:
    """`modelwire serve` on free loopback ports, set through the environment.

    kill() is kill -9, and start() after it uses the same folder and ports. `inside` is a command that becomes the one it is given.
    """

    def __init__(self, *targets: str, data_dir: Path, inside: Sequence[str] = (), **settings: object) -> None:
        self.targets = targets
        self.inside = inside
        self.data_dir = data_dir
        self.grpc_port, self.http_port = free_port(), free_port()
        self.target = f"127.0.0.1:{self.grpc_port}"
        self._variables = {f"MODELWIRE_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [
            *self.inside,
            str(Path(sys.executable).parent / "modelwire"),
            "serve",
            *self.targets,
            f"--grpc-port={self.grpc_port}",
            f"--http-port={self.http_port}",
            f"--data-dir={self.data_dir}",
        ]
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **self._variables})
        if not has_arrived(self._process, self.target):
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.output()}")
        return self

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def output(self) -> str:
        return (self.data_dir / "server.log").read_text()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM, as an orchestrator sends it; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=30)
        finally:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
