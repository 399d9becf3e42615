"""Questions to an MLflow server, asked by a process of its own."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from itertools import count
from typing import Any

from .mlflow_program import UNAVAILABLE, Failure

# A process that nobody asks anything for so long ends, and with it the memory that it takes.
IDLE_SECONDS = 60.0
# An answer has the columns of a model and its metrics.
_LONGEST_ANSWER = 16 * 1024 * 1024
# What MLflow's client does unless the environment says otherwise: by default it tries for minutes, and tells its makers about its use.
_VARIABLES = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Conversation:
    """Asks about the models on one MLflow server. The process is started with the first question, and ends when nobody asks any more."""

    def __init__(self, server: str, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.server = server
        self._idle_seconds = idle_seconds
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, ask: str, *, within: float, **question: Any) -> dict[str, Any]:
        """The answer to a question of mlflow_program. Raises Failure, also when it does not come within so many seconds."""
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            process = await self._started()
            await _write(process, {"id": number, "ask": ask, **question})
            async with asyncio.timeout(within):
                found: dict[str, Any] = await answer
        except TimeoutError:
            # What hangs there is not to be found hanging by the next question.
            self._end()
            raise Failure(UNAVAILABLE, f"no answer within {within:g} s") from None
        finally:
            self._waiting.pop(number, None)
            self._rest()
        if "error" in found:
            raise Failure(found["error"], found["message"])
        return dict(found["answer"])

    @property
    def pid(self) -> int | None:
        """The process that asks, if there is one now."""
        return None if self._process is None else self._process.pid

    async def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._end()
        if self._reading is not None:
            await self._reading

    async def _started(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
        async with self._starting:
            if self._process is None:
                if self._reading is not None:
                    await self._reading
                self._process = process = await self._start()
                self._reading = asyncio.create_task(self._read(process), name=f"answers of {self.server}")
            return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        where = {"MLFLOW_TRACKING_URI": self.server, "MLFLOW_REGISTRY_URI": self.server}
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"{__package__}.mlflow_program",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**_VARIABLES, **os.environ, **where},
                limit=_LONGEST_ANSWER,
                start_new_session=True,
            )
        except OSError as error:
            raise Failure(UNAVAILABLE, f"the client of MLflow cannot be started: {error.strerror}") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ConnectionError):
            while line := await _line(process.stdout):
                answer = json.loads(line)
                if (waiting := self._waiting.get(answer["id"])) and not waiting.done():
                    waiting.set_result(answer)
        if self._process is process:
            self._end()
        await process.wait()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result({"error": UNAVAILABLE, "message": "its client has ended; the log of this server may tell why"})

    def _rest(self) -> None:
        if not self._waiting and self._process is not None:
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._end)

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; nothing at the end, or if it is too long."""
    try:
        return await stream.readline()
    except ValueError:
        return b""


async def _write(process: asyncio.subprocess.Process, question: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    # If it has ended, its reader says so.
    with contextlib.suppress(ConnectionError):
        process.stdin.write(json.dumps(question).encode() + b"\n")
        await process.stdin.drain()
