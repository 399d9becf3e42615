"""PredictStream: many predictions, small and large, on one stream."""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.frames import FrameLimits, read_frame, write_frame, write_frame_parts

Part = pb.PredictStreamRequest
END = pb.PredictStreamEnd()


def whole(call: int, model: str, *values: int, **columns: Any) -> Part:
    future = frame_pb2.Frame(arrow=write_frame(pa.table({"x": list(values), **columns})))
    return Part(call=call, whole=pb.PredictRequest(model=model, future=future))


def chunked(call: int, model: str, frame: pa.Table, **header: Any) -> Iterator[Part]:
    yield Part(call=call, header=pb.PredictRequest(model=model, **header))
    for part in write_frame_parts(frame):
        yield Part(call=call, future=part)
    yield Part(call=call, end=END)


async def answers_to(edge: Any, *parts: Part) -> list[pb.PredictStreamResponse]:
    return [answer async for answer in edge.predictions.PredictStream(iter(parts))]


def values_of(answer: pb.PredictStreamResponse) -> list[int]:
    table = read_frame(answer.whole.predictions.arrow, FrameLimits(), "predictions")
    return table.column("sample_0").to_pylist()


def test_small_predictions_are_answered_in_order(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        answers = await answers_to(edge, *(whole(call, model, call, call + 1) for call in range(100)))
        assert [answer.call for answer in answers] == list(range(100))
        assert [values_of(answer) for answer in answers] == [[2 * call, 2 * call + 2] for call in range(100)]

    run(scenario)


def test_nothing_asked_nothing_answered(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        assert await answers_to(edge) == []

    run(scenario)


def test_large_and_small_predictions_share_a_stream(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        large = pa.table({"x": range(500_000)})
        parts = [whole(1, model, 1), *chunked(2, model, large), whole(3, model, 3)]
        answers = await answers_to(edge, *parts)
        assert values_of(answers[0]) == [2]
        assert values_of(answers[-1]) == [6]
        assert {answer.call for answer in answers[1:-1]} == {2}
        assert answers[-2].WhichOneof("part") == "end"
        pieces = [answer.predictions for answer in answers[1:-2]]
        assert max(map(len, pieces)) <= 1 << 20
        table = read_frame(b"".join(pieces), FrameLimits(), "predictions")
        assert table.column("sample_0").to_pylist()[-1] == 999_998

    run(scenario)


def test_all_parts_of_a_chunked_prediction(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        frame = write_frame(pa.table({"x": [1]}))
        parts = [
            Part(call=1, header=pb.PredictRequest(model=model)),
            Part(call=1, geo=json.dumps({"type": "FeatureCollection"}).encode()),
            Part(call=1, geo=b"nonsense"),
            Part(call=1, historic=frame),
            Part(call=1, future=frame),
            Part(call=1, end=END),
            Part(call=2, header=pb.PredictRequest(model=model)),
            Part(call=2, geo=json.dumps({"type": "FeatureCollection", "features": []}).encode()),
            Part(call=2, historic=frame[:50]),
            Part(call=2, historic=frame[50:]),
            Part(call=2, future=frame),
            Part(call=2, end=END),
        ]
        answers = await answers_to(edge, *parts)
        assert [(answer.call, answer.WhichOneof("part")) for answer in answers] == [(1, "error"), (2, "predictions"), (2, "end")]

    run(scenario)


def test_a_failed_prediction_does_not_end_the_stream(run: Any, apart: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        big = pa.table({"x": range(200_000)})
        parts = [
            whole(1, "nonsense", 1),
            whole(2, model, 1, fail=[1]),
            Part(call=3, whole=pb.PredictRequest(model=model)),
            *chunked(4, "nonsense", pa.table({"x": [1]})),
            *chunked(5, model, big),
            *chunked(6, model, pa.table({"x": [1]}), form=frame_pb2.FRAME_FORM_TABLE),
            *chunked(7, model, pa.table({"x": [1]}), future=frame_pb2.Frame(arrow=b"x")),
            Part(call=8, header=pb.PredictRequest(model=model)),
            Part(call=8, end=END),
            Part(call=9, header=pb.PredictRequest(model=model)),
            Part(call=9, future=b"no frame"),
            Part(call=9, end=END),
            whole(10, model, 5),
        ]
        answers = await answers_to(edge, *parts)
        assert [answer.call for answer in answers] == list(range(1, 11))
        found = [apart(answer.error) for answer in answers[:-1]]
        assert [one.reason for one in found] == [
            "MODEL_NOT_FOUND",
            "RUNNER_FAILED",
            "INVALID_FRAME",
            "MODEL_NOT_FOUND",
            "FRAME_TOO_LARGE",
            "INVALID_FIELD",
            "INVALID_FIELD",
            "INVALID_FRAME",
            "INVALID_FRAME",
        ]
        assert (found[1].code, found[5].fields, found[6].fields) == ("INTERNAL", ["form"], ["future"])
        assert values_of(answers[-1]) == [10]

    run(scenario, max_predict_bytes="1MiB")


M = "0" * 26


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([Part(call=1)], "part"),
        ([Part(call=1, future=b"x")], "call"),
        ([Part(call=1, end=END)], "call"),
        ([Part(call=2, whole=pb.PredictRequest()), Part(call=2, whole=pb.PredictRequest())], "call"),
        ([Part(call=2, whole=pb.PredictRequest()), Part(call=1, header=pb.PredictRequest())], "call"),
        ([Part(call=1, header=pb.PredictRequest()), Part(call=2, whole=pb.PredictRequest())], "call"),
        ([Part(call=1, header=pb.PredictRequest()), Part(call=2, future=b"x")], "call"),
        ([Part(call=1, header=pb.PredictRequest())], "end"),
        ([Part(call=1, header=pb.PredictRequest()), Part(call=1, future=bytes(5 << 20))], "future"),
    ],
)
def test_parts_that_do_not_fit_together_end_the_stream(run: Any, refusal: Any, parts: list[Part], field: str) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.predictions.PredictStream(iter(parts)))
        assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "INVALID_FIELD", [field])

    run(scenario)


def test_what_was_asked_before_a_wrong_part_is_answered(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        call = edge.predictions.PredictStream(iter([whole(1, await edge.model(), 4), Part(call=1)]))
        assert values_of(await call.read()) == [8]
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(scenario)


def test_a_caller_that_takes_no_answers_is_not_read(run: Any) -> None:
    """Answers of 100 kB each fill what gRPC buffers; then the server must stop taking questions."""

    async def scenario(edge: Any) -> None:
        model, sent = await edge.model(), 0
        call = edge.predictions.PredictStream()
        question = pa.table({"x": range(12_500)})
        try:
            async with asyncio.timeout(20):
                while True:
                    async with asyncio.timeout(3):
                        await call.write(whole(sent, model, *question.column("x").to_pylist()))
                    sent += 1
        except TimeoutError:
            assert 0 < sent < 1000
        held = edge.metrics.registry.get_sample_value("modelwire_predict_seconds_count")
        assert held is not None
        assert held <= sent
        call.cancel()
        await edge.left_by_all("PredictService", "PredictStream")

    run(scenario)


def test_leaving_stops_what_is_under_way(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        call = edge.predictions.PredictStream()
        model = await edge.model()
        for number in range(50):
            await call.write(whole(number, model, 1))
        await call.read()
        call.cancel()
        await edge.left_by_all("PredictService", "PredictStream")
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("predict stream")]
        assert left == []

    run(scenario)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector does not come by."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until_forgotten(*kinds: str) -> None:
    while any(type(one).__name__ in kinds for one in gc.get_objects()):  # noqa: ASYNC110  no event tells of it
        await asyncio.sleep(0.01)


def test_a_refused_stream_leaves_nothing_behind(run: Any, uncollected: None) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model()
        parts = [Part(call=1, header=pb.PredictRequest(model=model)), Part(call=1, future=bytes(4_500_000))]
        with pytest.raises(grpc.aio.AioRpcError):
            await answers_to(edge, *parts)
        await until_forgotten("PredictStream", "_MessageReceiver")

    run(scenario)


def test_a_refused_call_leaves_nothing_behind(run: Any, uncollected: None) -> None:
    async def scenario(edge: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="future"):
            await edge.predictions.Predict(pb.PredictRequest(model=await edge.model()))
        await until_forgotten("InvalidFrame")

    run(scenario)
