"""PredictStream: what has arrived together is predicted together, and nobody is told anything else than alone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
import row_runners
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire.v1 import frame_pb2, run_info_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.frames import write_frame
from modelwire_server.services.together import LARGEST

TARGETS = tuple(f"row_runners:{name}" for name in ("rows", "dependent", "waiting"))


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    row_runners.asked.clear()


def request(model: str, xs: Sequence[float], **fields: Any) -> pb.PredictRequest:
    return pb.PredictRequest(model=model, future=frame_pb2.Frame(arrow=write_frame(pa.table({"x": xs}))), **fields)


async def on_a_stream(edge: Any, requests: Sequence[pb.PredictRequest], *, bundled: bool) -> list[pb.PredictStreamResponse]:
    parts = [pb.PredictStreamRequest(call=call, whole=whole) for call, whole in enumerate(requests)]
    if bundled:
        parts = [pb.PredictStreamRequest(bundle=pb.PredictStreamRequestBundle(parts=parts))]
    answers = [answer async for answer in edge.predictions.PredictStream(iter(parts))]
    return [one for answer in answers for one in (answer.bundle.parts if answer.HasField("bundle") else [answer])]


def same(answer: pb.PredictStreamResponse, alone: pb.PredictStreamResponse) -> bool:
    for one in (answer, alone):
        one.whole.ClearField("timing")
        one.ClearField("call")
    return answer == alone


def test_all_that_came_in_one_message_share_a_call(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(3, "rows")
        await edge.predictions.Predict(request(model, [0.0]))
        row_runners.asked.clear()
        answers = await on_a_stream(edge, [request(model, [float(x)]) for x in range(100)], bundled=True)
        assert row_runners.asked == [100]
        tables = [pa.ipc.open_stream(answer.whole.predictions.arrow).read_all() for answer in answers]
        assert [table.column("y").to_pylist() for table in tables] == [[3.0 * x] for x in range(100)]
        assert {answer.whole.model_id for answer in answers} == {model}
        assert [answer.call for answer in answers] == list(range(100))

    run(scenario, targets=TARGETS)


def test_no_more_rows_share_a_call_than_may(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(3, "rows")
        await edge.predictions.Predict(request(model, [0.0, 0.0]))
        row_runners.asked.clear()
        await on_a_stream(edge, [request(model, [1.0, 2.0])] * 25, bundled=True)
        assert row_runners.asked == [20, 20, 10]

    run(scenario, targets=TARGETS, max_batch_rows=20)


@pytest.mark.parametrize("name", ["dependent", "waiting"])
def test_what_must_be_seen_by_itself_is(run: Any, name: str) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(3, name)
        await edge.predictions.Predict(request(model, [0.0]))
        row_runners.asked.clear()
        await on_a_stream(edge, [request(model, [float(x)]) for x in range(30)], bundled=True)
        assert row_runners.asked == [1] * 30

    run(scenario, targets=TARGETS)


def test_one_that_fails_fails_alone(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(3, "rows")
        await edge.predictions.Predict(request(model, [0.0]))
        answers = await on_a_stream(edge, [request(model, [float(x)]) for x in (1, 2, -1, 3)], bundled=True)
        assert [answer.WhichOneof("part") for answer in answers] == ["whole", "whole", "error", "whole"]
        assert "no negative x" in answers[2].error.message

    run(scenario, targets=TARGETS)


def test_each_is_counted(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(3, "rows")
        await edge.predictions.Predict(request(model, [0.0]))
        await on_a_stream(edge, [request(model, [float(x)]) for x in range(10)], bundled=True)
        assert sum(edge.metrics._of_models[model, "runner"][0].counts) == 11

    run(scenario, targets=TARGETS)


# What a request has beyond a small frame.
EXTRAS = {
    "": {},
    "as a table": {"form": frame_pb2.FRAME_FORM_TABLE},
    "as arrow": {"form": frame_pb2.FRAME_FORM_ARROW},
    "with a horizon": {"run_info": run_info_pb2.RunInfo(prediction_periods=1)},
    "by the runner": {"engine": "runner"},
    "by nobody": {"engine": "none"},
    "unchecked": {"schema_policy": pb.SCHEMA_POLICY_OFF},
    "by no policy": {"schema_policy": 17},
    "with a past": {"historic": frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1.0]})))},
}


def requests_of(models: Sequence[str]) -> st.SearchStrategy[pb.PredictRequest]:
    values = st.lists(st.sampled_from([-1.0, 0.5, 1.0, 2.0]), min_size=1, max_size=3) | st.just([1.0] * (LARGEST // 8 + 1))
    extras = st.just("") | st.sampled_from([*EXTRAS])
    return st.builds(lambda model, xs, extra: request(model, xs, **EXTRAS[extra]), st.sampled_from(models), values, extras)


def test_each_gets_what_it_would_have_got_alone(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        loop = asyncio.get_running_loop()
        runners = ((2, "rows"), (3, "rows"), (5, "dependent"), (7, "waiting"))
        models = [await edge.model(factor, name) for factor, name in runners]

        async def compare(requests: list[pb.PredictRequest], bundled: bool) -> None:
            alone = [(await on_a_stream(edge, [one], bundled=False))[0] for one in requests]
            answers = await on_a_stream(edge, requests, bundled=bundled)
            assert [answer.call for answer in answers] == list(range(len(requests)))
            assert all(map(same, answers, alone))

        @settings(max_examples=40, deadline=None)
        @given(requests=st.lists(requests_of([*models, "nonsense"]), min_size=1, max_size=30), bundled=st.booleans())
        def check(requests: list[pb.PredictRequest], bundled: bool) -> None:
            asyncio.run_coroutine_threadsafe(compare(requests, bundled), loop).result(60)

        await asyncio.to_thread(check)

    run(scenario, targets=TARGETS)
