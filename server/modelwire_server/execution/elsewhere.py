"""Work that the executor of another process of this machine does: what it needs is data, and files; what becomes of it, too."""

import asyncio
import pickle
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import WorkerLost
from ..jobs.model import NewEvent
from .interface import Executor, Failed, JobSpec, Outcome, Report, StopReason, StopSignal

_LENGTH_BYTES = 8


class DistantExecutor:
    """An Executor that has work done by the process that `connect` connects with. What the work reports is not heard."""

    def __init__(self, connect: Callable[[], Awaitable[Sequence[socket.socket]]]) -> None:
        self._connect = connect

    async def run(self, spec: JobSpec, report: Report, stop: StopSignal) -> Outcome:
        """See Executor.run()."""
        links = await self._connect()
        if not links:
            return Failed(WorkerLost("the process that runs jobs is not there at the moment; try again"))
        reader, writer = await asyncio.open_unix_connection(sock=links[0])
        stopping = asyncio.create_task(stop.wait())
        try:
            await _send(writer, spec)
            answering = asyncio.create_task(_receive(reader))
            await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                writer.write_eof()
            outcome: Outcome = await answering
        except (OSError, EOFError):
            return Failed(WorkerLost("the process that runs jobs has ended"))
        else:
            return outcome
        finally:
            # Also that of a call that is canceled: the other side stops the work.
            stopping.cancel()
            writer.close()


class WorkForOthers:
    """Does with an executor what others send: at most `slots` of it at once."""

    def __init__(self, executor: Executor, slots: int) -> None:
        self._executor = executor
        self._slots = asyncio.Semaphore(slots)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Waits until nothing is under way."""
        await self._idle.wait()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Does what one of them asks for, unless it goes before that is done."""
        self._under_way += 1
        self._idle.clear()
        try:
            await self._answer(reader, writer)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spec: JobSpec = await _receive(reader)
        stop = StopSignal()
        running = asyncio.create_task(self._run(spec, stop))
        # The other side closes, or ends, to have the work stopped.
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                stop.set(StopReason.CANCELED)
            await _send(writer, await running)
        finally:
            gone.cancel()
            running.cancel()
            await asyncio.wait({running, gone})

    async def _run(self, spec: JobSpec, stop: StopSignal) -> Outcome:
        async with self._slots:
            return await self._executor.run(spec, _unheard, stop)


async def _unheard(events: Sequence[NewEvent]) -> None:
    """There is nobody who would keep them."""


async def _send(writer: asyncio.StreamWriter, value: object) -> None:
    content = pickle.dumps(value)
    writer.write(len(content).to_bytes(_LENGTH_BYTES) + content)
    await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> Any:
    """Raises EOFError, OSError when the other side has gone."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
    return pickle.loads(await reader.readexactly(length))
