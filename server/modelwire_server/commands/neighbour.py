"""A server of our own in a process beside this one."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelwire.cli.ends import ExitCode, Stop

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class Neighbour:
    """`modelwire serve FILE:runner` on free ports of this machine, with its data in `folder`. Stopped on exit, whatever happens."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self._log = folder / "server.log"
        command = [sys.executable, "-m", "modelwire", "serve", f"{file}:runner"]
        command += ["--grpc-port=0", "--http-port=0", f"--data-dir={folder / 'data'}", "--json"]
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then stops the server.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=self._environment(),
                start_new_session=True,
            )

    @staticmethod
    def _environment() -> dict[str, str]:
        """Ours without settings that are meant for another server."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("MODELWIRE_")}
        return {**kept, "MODELWIRE_DRAIN_SECONDS": "1"}

    def announcement(self) -> dict[str, Any]:
        """Where it listens: waits until it does. Raises Stop if it does not start."""
        assert self._process.stdout is not None
        due = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, due - time.monotonic())):
                line = self._process.stdout.readline()
                if line.startswith(b"{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
                if not line:
                    break
        raise Stop("the demo's server did not start", hint=self._last_words(), code=ExitCode.FAILED)

    def wait(self) -> None:
        """Returns when it has ended by itself."""
        self._process.wait()

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A second signal must not leave the server behind.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            self._stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
