"""Work that the executor of another process does."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelwire_server.artifacts.model import Blob
from modelwire_server.errors import RunnerFailed
from modelwire_server.execution.elsewhere import DistantExecutor, WorkForOthers
from modelwire_server.execution.interface import Completed, Failed, JobSpec, Made, Outcome, Report, Stopped, StopReason, StopSignal
from modelwire_server.jobs.model import JobKind, NewEvent


class Hands:
    """An executor that does as it is told: `outcome`, or waits until it is to stop."""

    def __init__(self, outcome: Outcome | None) -> None:
        self._outcome = outcome
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.at_work = self.most_at_work = 0

    async def run(self, spec: JobSpec, report: Report, stop: StopSignal) -> Outcome:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.begun.set()
        try:
            if self._outcome is None:
                await stop.wait()
                self.stopped.set()
                return Stopped()
            await asyncio.sleep(0.01)
            return self._outcome
        finally:
            self.at_work -= 1


class Other:
    """The other process, as far as one can tell from here."""

    def __init__(self, hands: Hands, slots: int = 8) -> None:
        self.work = WorkForOthers(hands, slots)
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> Sequence[socket.socket]:
        one, another = socket.socketpair()
        task = asyncio.create_task(self._answer(another))
        self._tasks.add(task)
        return [one]

    async def die(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, link: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=link)
        try:
            await self.work.answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()


SPEC = JobSpec(job_id="j", attempt=1, kind=JobKind.PREDICT, runner_id="r", config={"a": 1}, frames={"x": Path("x")}, folder=Path())


async def unheard(events: Sequence[NewEvent]) -> None:
    raise AssertionError("nobody listens")


def completed() -> Completed:
    return Completed(Made(Path("result"), Blob("sha256:00", 3), "text/plain", {"a": [1]}))


def test_what_was_done_is_told() -> None:
    async def scenario() -> None:
        outcome = await DistantExecutor(Other(Hands(completed())).connect).run(SPEC, unheard, StopSignal())
        assert outcome == completed()

    asyncio.run(scenario())


def test_what_went_wrong_is_told_in_full() -> None:
    async def scenario() -> None:
        error = RunnerFailed("it broke", type="ValueError")
        error.traceback = "Traceback ..."
        outcome = await DistantExecutor(Other(Hands(Failed(error))).connect).run(SPEC, unheard, StopSignal())
        assert isinstance(outcome, Failed)
        told = outcome.error
        assert (type(told), told.message, told.metadata) == (RunnerFailed, "it broke", {"type": "ValueError"})
        assert told.traceback == "Traceback ..."

    asyncio.run(scenario())


def test_it_is_stopped_on_request() -> None:
    async def scenario() -> None:
        hands, stop = Hands(None), StopSignal()
        running = asyncio.create_task(DistantExecutor(Other(hands).connect).run(SPEC, unheard, stop))
        await hands.begun.wait()
        stop.set(StopReason.CANCELED)
        assert await running == Stopped()
        assert hands.at_work == 0

    asyncio.run(scenario())


def test_it_is_stopped_when_nobody_waits_for_it_any_more() -> None:
    async def scenario() -> None:
        hands = Hands(None)
        running = asyncio.create_task(DistantExecutor(Other(hands).connect).run(SPEC, unheard, StopSignal()))
        await hands.begun.wait()
        running.cancel()
        async with asyncio.timeout(10):
            await hands.stopped.wait()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())


def test_it_is_lost_with_the_other_process() -> None:
    async def scenario() -> None:
        hands = Hands(None)
        other = Other(hands)
        running = asyncio.create_task(DistantExecutor(other.connect).run(SPEC, unheard, StopSignal()))
        await hands.begun.wait()
        await other.die()
        outcome = await running
        assert isinstance(outcome, Failed)
        assert outcome.error.reason == "WORKER_LOST"

    asyncio.run(scenario())


def test_without_another_process_it_fails() -> None:
    async def nobody() -> Sequence[socket.socket]:
        return []

    async def scenario() -> None:
        outcome = await DistantExecutor(nobody).run(SPEC, unheard, StopSignal())
        assert isinstance(outcome, Failed)
        assert outcome.error.reason == "WORKER_LOST"

    asyncio.run(scenario())


def test_it_is_known_when_all_is_done() -> None:
    async def scenario() -> None:
        hands, stop = Hands(None), StopSignal()
        other = Other(hands)
        await other.work.idle()
        running = asyncio.create_task(DistantExecutor(other.connect).run(SPEC, unheard, stop))
        await hands.begun.wait()
        idle = asyncio.create_task(other.work.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        stop.set(StopReason.CANCELED)
        await running
        async with asyncio.timeout(10):
            await idle

    asyncio.run(scenario())


def test_no_more_than_there_is_room_for_is_done_at_once() -> None:
    async def scenario() -> None:
        hands = Hands(completed())
        executor = DistantExecutor(Other(hands, slots=2).connect)
        await asyncio.gather(*(executor.run(SPEC, unheard, StopSignal()) for _ in range(6)))
        assert hands.most_at_work == 2

    asyncio.run(scenario())
