"""Many predictions over one stream."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from working_server import Worker, big

from modelwire import AsyncClient, Client, Internal, InvalidArgument
from modelwire.v1 import predict_service_pb2


def mixed() -> list[Any]:
    return [big(2), {"x": [5.0]}, big(), pd.DataFrame({"x": [1.0]}), big(0)]


def test_many_predictions_over_one_stream(serve: Any) -> None:
    worker = Worker()
    with Client(serve(worker)) as client:
        answers = list(client.predict_many("M", mixed(), {"past": [1]}))
    assert [len(answer) for answer in answers] == [2, 1, 400_000, 1, 0]
    assert isinstance(answers[3], pd.DataFrame)
    assert [received.streamed for received in worker.received] == [False, False, True, False, False]
    assert all(received.frame("historic").num_rows == 1 for received in worker.received)


def test_many_predictions_on_asyncio(serve: Any) -> None:
    async def scenario() -> list[int]:
        async with AsyncClient(serve(Worker())) as client:
            return [len(answer) async for answer in client.predict_many("M", mixed())]

    assert asyncio.run(scenario()) == [2, 1, 400_000, 1, 0]


def test_one_of_many_that_fails(serve: Any) -> None:
    futures: list[Any] = [{"x": [1.0]}, {"x": [-1.0]}, pa.table({"x": np.full(400_000, -1.0)}), {"x": [2.0]}]
    with Client(serve(Worker())) as client:
        answers = list(client.predict_many("M", futures, errors="return"))
        assert [type(answer) for answer in answers] == [pa.Table, Internal, Internal, pa.Table]
        with pytest.raises(Internal, match="no negative x"):
            list(client.predict_many("M", futures))


def test_many_predictions_are_taken_as_they_come(serve: Any) -> None:
    """The source may wait for an answer before it makes the next question."""
    answered = threading.Semaphore(1)

    def futures() -> Iterator[Any]:
        for x in range(5):
            assert answered.acquire(timeout=10)
            yield {"x": [float(x)]}

    with Client(serve(Worker())) as client:
        seen = []
        for answer in client.predict_many("M", futures()):
            seen.append(answer["y"][0].as_py())
            answered.release()
    assert seen == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_many_predictions_as_they_are_done(serve: Any) -> None:
    """The first is answered last."""

    class Backwards(Worker):
        def PredictStream(self, request_iterator: Any, context: Any) -> Iterator[predict_service_pb2.PredictStreamResponse]:
            options, *requests = request_iterator
            assert options.options.out_of_order
            yield from reversed(list(super().PredictStream(iter(requests), context)))

    with Client(serve(Backwards())) as client:
        futures = [{"x": [float(x)]} for x in range(4)]
        pairs = list(client.predict_many("M", futures, out_of_order=True))
    assert [(number, answer["y"][0].as_py()) for number, answer in pairs] == [(3, 6.0), (2, 4.0), (1, 2.0), (0, 0.0)]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_frames_are_not_read_before_they_may_be_in_flight(serve: Any, in_flight: int) -> None:
    read: list[int] = []

    def futures() -> Iterator[Any]:
        for x in range(20):
            read.append(x)
            yield {"x": [float(x)]}

    with Client(serve(Worker())) as client:
        for taken, answer in enumerate(client.predict_many("M", futures(), in_flight=in_flight)):
            assert answer["y"][0].as_py() == 2.0 * taken
            # What was answered is answered to the client before this loop has taken it: one more may be under way for each of them.
            assert len(read) <= taken + 1 + in_flight
    with Client("localhost:1") as client, pytest.raises(InvalidArgument, match="in_flight"):
        list(client.predict_many("M", [], in_flight=0))


def test_asynchronous_frames(serve: Any) -> None:
    asked: asyncio.Queue[float | None] = asyncio.Queue()

    async def futures() -> AsyncIterator[Any]:
        while (x := await asked.get()) is not None:
            yield {"x": [x]}

    async def scenario() -> list[float]:
        seen: list[float] = []
        async with AsyncClient(serve(Worker())) as client:
            await asked.put(1.0)
            async for answer in client.predict_many("M", futures()):
                seen.append(answer["y"][0].as_py())
                await asked.put(seen[-1] if len(seen) < 4 else None)
        return seen

    assert asyncio.run(scenario()) == [2.0, 4.0, 8.0, 16.0]


def test_asynchronous_frames_that_fail_or_are_not_wanted_any_more(serve: Any) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield {"x": [1.0]}
        raise LookupError("no more of them")

    async def endless() -> AsyncIterator[Any]:
        yield {"x": [1.0]}
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with AsyncClient(serve(Worker())) as client:
            with pytest.raises(LookupError, match="no more of them"):
                _ = [answer async for answer in client.predict_many("M", failing())]
            async with aclosing(client.predict_many("M", endless())) as answers:
                assert (await anext(answers))["y"].to_pylist() == [2.0]

    asyncio.run(scenario())
    left = [thread for thread in threading.enumerate() if thread.name == "modelwire-requests"]
    for thread in left:
        thread.join(10)
        assert not thread.is_alive()


def test_a_frame_that_is_none_ends_the_stream_with_its_error(serve: Any) -> None:
    with Client(serve(Worker())) as client, pytest.raises(InvalidArgument, match="future: must be a frame"):
        list(client.predict_many("M", [{"x": [1.0]}, 3]))
