"""PredictStream with several messages in one."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest
import row_runners
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.frames import write_frame, write_frame_parts
from modelwire_server.services.stream_answers import MOST_CALLS, MOST_IN_BUNDLE, MOST_OF_BUNDLE
from modelwire_server.services.stream_messages import read_parts

Part = pb.PredictStreamRequest
END = pb.PredictStreamEnd()


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    row_runners.gate.clear()
    while row_runners.entered.acquire(blocking=False):
        pass
    yield
    row_runners.gate.set()


def whole(call: int, model: str, **columns: Any) -> Part:
    future = frame_pb2.Frame(arrow=write_frame(pa.table(columns)))
    return Part(call=call, whole=pb.PredictRequest(model=model, future=future))


def chunked(call: int, model: str, frame: pa.Table) -> Iterator[Part]:
    yield Part(call=call, header=pb.PredictRequest(model=model))
    for part in write_frame_parts(frame):
        yield Part(call=call, future=part)
    yield Part(call=call, end=END)


def bundle(*parts: Part) -> Part:
    return Part(bundle=pb.PredictStreamRequestBundle(parts=parts))


def options(**chosen: bool) -> Part:
    return Part(options=pb.PredictStreamOptions(**chosen))


def unbundled(answers: Iterable[pb.PredictStreamResponse]) -> list[pb.PredictStreamResponse]:
    return [one for answer in answers for one in (answer.bundle.parts if answer.HasField("bundle") else [answer])]


def without_times(answer: pb.PredictStreamResponse) -> pb.PredictStreamResponse:
    answer.whole.ClearField("timing")
    answer.end.ClearField("timing")
    return answer


def cut(parts: list[Part], sizes: list[int]) -> Iterator[Part]:
    """The parts in bundles of these sizes; in a bundle of none is one part, as it is."""
    at = 0
    for size in sizes:
        yield bundle(*parts[at : at + size]) if size else parts[at]
        at += size or 1
        if at >= len(parts):
            return
    yield from parts[at:]


async def answers_to(edge: Any, parts: Iterable[Part]) -> list[pb.PredictStreamResponse]:
    return [answer async for answer in edge.predictions.PredictStream(iter(parts))]


def asked_of(model: str) -> list[Part]:
    return [
        whole(1, model, x=[1]),
        whole(2, model, x=[1], fail=[1]),
        *chunked(3, model, pa.table({"x": range(100_000)})),
        whole(4, "nonsense", x=[1]),
        *(whole(call, model, x=[call, call]) for call in range(5, 20)),
        Part(call=20, header=pb.PredictRequest(model=model)),
        Part(call=20, future=b"no frame"),
        Part(call=20, end=END),
        whole(21, model, x=[21]),
    ]


def test_in_bundles_or_one_by_one_is_the_same(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        asked = asked_of(await edge.model())
        expected = [without_times(answer) for answer in await answers_to(edge, asked)]
        loop = asyncio.get_running_loop()

        @settings(max_examples=30, deadline=None)
        @given(sizes=st.lists(st.integers(0, len(asked)), max_size=len(asked)), bundled=st.booleans())
        def same(sizes: list[int], bundled: bool) -> None:
            answering = answers_to(edge, [options(bundled=bundled), *cut(asked, sizes)])
            answers = asyncio.run_coroutine_threadsafe(answering, loop).result(60)
            assert bundled or not any(answer.HasField("bundle") for answer in answers)
            assert [without_times(answer) for answer in unbundled(answers)] == expected

        await asyncio.to_thread(same)

    run(scenario)


def test_answers_that_are_there_come_together(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        rows, times = await edge.model(runner_id="rows"), await edge.model(runner_id="times")
        asked = [whole(1, rows, x=[1.0], wait=[0]), *(whole(call, times, x=[call]) for call in range(2, 30))]
        call = edge.predictions.PredictStream(iter([options(bundled=True), bundle(*asked)]))
        assert await asyncio.to_thread(row_runners.entered.acquire, timeout=20)
        # It waits behind the others of its model.
        await edge.predictions.Predict(whole(0, times, x=[1]).whole)
        row_runners.gate.set()
        answers = [answer async for answer in call]
        assert len(answers) < len(asked)
        assert [answer.call for answer in unbundled(answers)] == [part.call for part in asked]
        assert any(answer.HasField("bundle") for answer in answers)

    run(scenario, targets=["row_runners:rows", "row_runners:changing"])


def test_more_in_a_bundle_than_is_done_at_once(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, count = await edge.model(), 5 * MOST_CALLS
        asked = [whole(call, model, x=[call]) for call in range(count)]
        answers = await answers_to(edge, [options(bundled=True), bundle(*asked)])
        assert [answer.call for answer in unbundled(answers)] == list(range(count))
        assert max(len(answer.bundle.parts) for answer in answers) <= MOST_IN_BUNDLE

    run(scenario)


def test_bundles_of_answers_are_not_large(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, values = await edge.model(), list(range(10_000))
        asked = [whole(call, model, x=values) for call in range(20)]
        answers = await answers_to(edge, [options(bundled=True), *(bundle(*asked[at : at + 4]) for at in range(0, 20, 4))])
        assert [answer.call for answer in unbundled(answers)] == list(range(20))
        assert max(answer.ByteSize() for answer in answers) <= MOST_OF_BUNDLE + 100

    run(scenario)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (bundle(), "bundle"),
        (Part(call=2), "part"),
        (options(bundled=True), "options"),
        (Part(call=1, whole=pb.PredictRequest()), "call"),
    ],
)
def test_what_must_not_be_in_a_bundle(run: Any, wrong: Part, field: str) -> None:
    """What was asked before it is answered, what comes after it is not."""

    async def scenario(edge: Any) -> None:
        model = await edge.model()
        call = edge.predictions.PredictStream(iter([bundle(whole(1, model, x=[1]), wrong, whole(3, model, x=[1]))]))
        assert (await call.read()).call == 1
        with pytest.raises(grpc.aio.AioRpcError, match=field):
            await call.read()

    run(scenario)


def test_a_bundle_of_nothing_asks_nothing(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        assert await answers_to(edge, [bundle(), bundle(whole(1, "nonsense", x=[1]))]) != []

    run(scenario)


def test_each_part_of_a_bundle_counts_with_its_own_size() -> None:
    asked = [whole(1, "m", x=[1]), whole(2, "m", x=list(range(10_000))), Part(call=3, future=b"chunk")]
    found = list(read_parts(bundle(*asked).SerializeToString()))
    assert [part.size for part in found] == [part.ByteSize() for part in asked]
    assert [part.name for part in found] == ["whole", "whole", "future"]
