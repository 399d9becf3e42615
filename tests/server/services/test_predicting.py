"""How predictions at once are computed: in which thread, with which others, and which are not computed at all."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import cloudpickle
import grpc
import numpy as np
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from lane_runners import Seen, at_once, seen

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.cores import available_cores
from modelwire_server.frames import FrameLimits, read_frame, write_frame
from modelwire_server.inference import core_share
from modelwire_server.inference.costs import CallCost
from modelwire_server.inference.lanes import MUCH_TOO_SLOW
from modelwire_server.prediction import PredictOrder

TARGETS = ["lane_runners:arrays", "lane_runners:tables", "lane_runners:dependent", "lane_runners:computing"]


def request(model: str, *values: Any, **fields: Any) -> pb.PredictRequest:
    return pb.PredictRequest(model=model, future=frame_pb2.Frame(arrow=write_frame(pa.table({"x": list(values)}))), **fields)


def answered(response: pb.PredictResponse) -> list[float]:
    return read_frame(response.predictions.arrow, FrameLimits(), "predictions").column(0).to_pylist()


class Asked:
    """A model of one of the runners, and those who ask it."""

    def __init__(self, edge: Any, model: str, notes: Seen) -> None:
        self.edge, self.model, self.notes = edge, model, notes

    @classmethod
    async def of(cls, edge: Any, runner: str = "arrays") -> "Asked":
        name = f"model {len(seen)}"
        seen[name] = Seen()
        return cls(edge, await edge.model(runner_id=runner, content=cloudpickle.dumps(name)), seen[name])

    async def lane(self) -> Any:
        prediction = self.edge.domain.prediction
        return prediction._predictor.lane(await prediction.load(self.model))

    def ask(self, *values: Any, timeout: float = 30, **fields: Any) -> Any:
        return asyncio.ensure_future(self.edge.predictions.Predict(request(self.model, *values, **fields), timeout=timeout))

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.notes.begun.acquire, timeout=30)

    async def until_waiting(self, number: int) -> None:
        lane = await self.lane()
        while lane.waiting < number:
            await self.edge.database.check()

    async def busy(self, value: Any = 0.0) -> Any:
        """Lets a call begin that does not end until the gate is opened."""
        self.notes.gate.clear()
        first = self.ask(value)
        await self.until_begun()
        return first


async def failure_of(call: Awaitable[Any]) -> tuple[str, str, bool]:
    """Code and reason of a call that fails, and whether it says when to try again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info, retry, says = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), False
    for detail in rpc_status.from_call(caught.value).details:  # type: ignore[arg-type, union-attr]
        detail.Unpack(info)
        says = says or detail.Unpack(retry)
    return caught.value.code().name, info.reason, says


Scenario = Callable[[Any], Awaitable[None]]


@pytest.fixture
def predicting(run: Any) -> Callable[..., None]:
    return lambda scenario, **options: run(scenario, targets=TARGETS, **options)


def test_a_runner_is_given_an_array_and_tells_where_the_time_went(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        for _ in range(4):  # the second frame has a layout that is known, the third is computed on the event loop
            call = edge.predictions.Predict(request(it.model, 1.5, 2.0, -3.0))
            response = await call
            assert answered(response) == [15.0, 20.0, -30.0]
            assert (response.model_id, response.engine) == (it.model, "runner")
            assert 20_000 <= response.timing.compute_us <= response.timing.total_us
            assert response.timing.queue_us >= 0
            trailer = dict(await call.trailing_metadata())
            assert (trailer["modelwire-model"], trailer["modelwire-engine"]) == (it.model, "runner")
            spent = dict(part.split(";dur=") for part in trailer["modelwire-timing"].split(", "))
            assert {name: round(float(ms) * 1000) for name, ms in spent.items()} == {
                "queue": response.timing.queue_us,
                "compute": response.timing.compute_us,
                "total": response.timing.total_us,
            }
            assert len(trailer["x-request-id"]) == 26

    predicting(scenario)


def test_what_comes_while_a_model_is_busy_shares_its_next_call(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        others = [it.ask(float(number), number + 0.5) for number in range(10)]
        await it.until_waiting(10)
        it.notes.gate.set()
        assert answered(await first) == [0.0]
        for number, other in enumerate(others):
            response = await other
            assert answered(response) == [10.0 * number, 10.0 * number + 5]
            assert response.timing.queue_us > 0
        assert [len(call) for call in it.notes.calls] == [1, 20]

    predicting(scenario)


@pytest.mark.parametrize("max_rows", [1, 4, 7])
def test_a_shared_call_has_a_limit_of_rows(predicting: Any, max_rows: int) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        others = [it.ask(*[float(number)] * rows) for number, rows in enumerate((2, 2, 3, 2))]
        await it.until_waiting(4)
        it.notes.gate.set()
        assert [answered(await other) for other in others] == [[0.0] * 2, [10.0] * 2, [20.0] * 3, [30.0] * 2]
        await first
        assert [len(call) for call in it.notes.calls] == {1: [1, 2, 2, 3, 2], 4: [1, 4, 3, 2], 7: [1, 7, 2]}[max_rows]

    predicting(scenario, max_batch_rows=max_rows)


def test_tables_share_calls_too(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge, "tables")
        first = await it.busy("0")
        others = [it.ask(str(number), "1") for number in range(3)]
        await it.until_waiting(3)
        it.notes.gate.set()
        await first
        for number, other in enumerate(others):
            table = read_frame((await other).predictions.arrow, FrameLimits(), "predictions")
            assert table.to_pydict() == {"y": [float(number), 1.0], "text": [str(number), "1"]}
        assert [len(call) for call in it.notes.calls] == [1, 6]

    predicting(scenario)


def test_a_bad_request_spoils_only_its_own_prediction(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        good, bad = [it.ask(float(number)) for number in range(3)], it.ask(math.nan)
        await it.until_waiting(4)
        it.notes.gate.set()
        assert await failure_of(bad) == ("INTERNAL", "RUNNER_FAILED", False)
        assert [answered(await one) for one in good] == [[0.0], [10.0], [20.0]]
        await first
        assert [len(call) for call in it.notes.calls] == [1, 4, 1, 1, 1, 1]

    predicting(scenario)


@pytest.mark.parametrize("unlike", [{"run_info": {"prediction_periods": 7}}, {"historic": True}, {"columns": True}])
def test_only_like_predictions_share_a_call(predicting: Any, unlike: dict[str, Any]) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        other = request(it.model, 1.0)
        if "run_info" in unlike:
            other.run_info.prediction_periods = 7
        elif "historic" in unlike:
            other.historic.arrow = write_frame(pa.table({"x": pa.array([], pa.float64())}))
        else:
            other.future.arrow = write_frame(pa.table({"x": [1.0], "z": [2.0]}))
        calls = [it.ask(2.0), asyncio.ensure_future(edge.predictions.Predict(other)), it.ask(3.0)]
        await it.until_waiting(3)
        it.notes.gate.set()
        assert [answered(await call) for call in (first, *calls)] == [[0.0], [20.0], [10.0], [30.0]]
        assert sorted(len(call) for call in it.notes.calls) == [1, 1, 2]

    predicting(scenario)


def test_rows_that_depend_on_each_other_never_share_a_call(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge, "dependent")
        it.notes.gate.clear()
        calls = [it.ask(float(number)) for number in range(4)]
        await it.until_begun()
        await it.until_begun()
        await it.until_waiting(2)
        it.notes.gate.set()
        assert [answered(await call) for call in calls] == [[0.0], [10.0], [20.0], [30.0]]
        assert [len(call) for call in it.notes.calls] == [1, 1, 1, 1]

    predicting(scenario)


def test_what_nobody_waits_for_any_more_is_not_computed(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        expired, canceled = it.ask(1.0, timeout=2), it.ask(2.0)
        await it.until_waiting(2)
        canceled.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await expired
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        last = it.ask(3.0)
        await it.until_waiting(3)
        it.notes.gate.set()
        assert answered(await last) == [30.0]
        await first
        assert it.notes.calls == [[0.0], [3.0]]

    predicting(scenario)


def test_a_line_that_is_too_long_is_refused_at_once(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        first = await it.busy()
        others = [it.ask(1.0), it.ask(2.0)]
        await it.until_waiting(2)
        assert await failure_of(it.ask(3.0)) == ("RESOURCE_EXHAUSTED", "OVERLOADED", True)
        it.notes.gate.set()
        assert [answered(await call) for call in (first, *others)] == [[0.0], [10.0], [20.0]]

    predicting(scenario, max_waiting_predictions=2)


def test_what_would_come_too_late_is_refused_at_once(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        lane = await it.lane()
        for _ in range(2):
            lane._cost.observe(1, 20.0)
        assert await failure_of(it.ask(1.0, timeout=10)) == ("RESOURCE_EXHAUSTED", "OVERLOADED", True)
        assert answered(await it.ask(1.0, timeout=60)) == [10.0]
        assert it.notes.calls == [[1.0]]

    predicting(scenario)


def test_a_fast_model_is_called_on_the_event_loop_until_it_is_slow(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        await it.ask(1.0)
        assert it.notes.threads[0].startswith("predict")
        slow = False
        while not slow:
            while it.notes.threads[-1] != "MainThread":
                await it.ask(1.0)
            await it.ask(-1.0)
            slow = it.notes.threads[-1] == "MainThread"  # else the machine was busy meanwhile
        calls = len(it.notes.threads)
        await it.ask(1.0)
        assert it.notes.threads[calls].startswith("predict")

    predicting(scenario)


def test_more_rows_than_calls_may_share_have_a_call_that_is_as_long_as_it_is(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        lane = await it.lane()
        for seconds_a_row, thread in ((1e-6, "MainThread"), (1e-5, "predict")):
            lane._cost = CallCost(MUCH_TOO_SLOW)
            for rows in (10, 10, 100, 10, 100):
                lane._cost.observe(rows, rows * seconds_a_row)
            await it.ask(*[1.0] * 400)
            assert it.notes.threads[-1].startswith(thread)

    predicting(scenario, max_batch_rows=50)


def test_what_arrives_in_pieces_is_computed_in_threads_while_the_next_is_read(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        lane = await it.lane()
        for seconds, is_piece, thread in ((0.001, False, "MainThread"), (0.001, True, "predict"), (0.0001, True, "MainThread")):
            lane._cost = CallCost(MUCH_TOO_SLOW)
            for _ in range(3):
                lane._cost.observe(1, seconds)
            await edge.domain.prediction.predict(PredictOrder(model=it.model, future=pa.table({"x": [1.0]}), is_piece=is_piece))
            assert it.notes.threads[-1].startswith(thread)

    predicting(scenario)


@pytest.mark.parametrize(("busy", "thread"), [(0.0015, "MainThread"), (0.0005, "predict")])
def test_a_call_that_waited_for_other_threads_is_as_long_as_it_computed(predicting: Any, busy: float, thread: str) -> None:
    """Of a call that waits for something else there is no telling."""

    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        lane = await it.lane()
        timed = lane._timed
        lane._timed = lambda asks: (timed(asks)[0], 0.0029, busy)
        for _ in range(3):
            await it.ask(1.0)
        assert it.notes.threads[-1].startswith(thread)

    predicting(scenario)


def test_a_model_that_hangs_does_not_hold_up_another(predicting: Any) -> None:
    """More calls of the slow one than it has threads, and more waiting."""

    async def scenario(edge: Any) -> None:
        slow, quick = await Asked.of(edge, "dependent"), await Asked.of(edge, "dependent")
        slow.notes.gate.clear()
        hanging = [slow.ask(float(number)) for number in range(6)]
        await slow.until_begun()
        await slow.until_begun()
        await slow.until_waiting(4)
        for number in range(5):
            assert answered(await quick.ask(float(number))) == [10.0 * number]
        assert not any(call.done() for call in hanging)
        slow.notes.gate.set()
        await asyncio.gather(*hanging)

    predicting(scenario)


def test_models_that_compute_leave_a_core_to_predictions_on_the_event_loop(
    predicting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_share, "_LONGEST_SECONDS", math.inf)  # nobody knows how long a busy machine takes

    async def scenario(edge: Any) -> None:
        share = edge.domain.prediction._predictor._share
        slow, quick = await Asked.of(edge, "computing"), await Asked.of(edge)
        while not (await slow.lane())._keeps_core:  # a machine that does much else may not have given it a core
            await slow.ask(1.0)
        at_once.most = 0
        await asyncio.gather(*(slow.ask(float(number)) for number in range(8)))
        assert at_once.most > 1
        await quick.ask(1.0)
        while quick.notes.threads[-1] != "MainThread":
            await quick.ask(1.0)
        assert share._expected_until > -math.inf
        share._expected_until = math.inf
        at_once.most = 0
        answers = await asyncio.gather(*(slow.ask(float(number)) for number in range(8)))
        assert [answered(answer) for answer in answers] == [[float(number)] for number in range(8)]
        assert 1 <= at_once.most <= max(1, available_cores() - 1)

    predicting(scenario, predict_threads=available_cores() + 2)


@pytest.mark.parametrize(("beside", "keeps_core"), [(1, False), (4, True)])
def test_calls_beside_each_other_share_the_cores_that_a_model_keeps_busy(predicting: Any, beside: int, keeps_core: bool) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge, "dependent")
        lane = await it.lane()
        timed = lane._timed
        lane._timed = lambda asks: (timed(asks)[0], 0.1, 0.015)
        it.notes.gate.clear()
        asked = [it.ask(float(number)) for number in range(beside)]
        for _ in asked:
            await it.until_begun()
        it.notes.gate.set()
        await asyncio.gather(*asked)
        assert lane._keeps_core == keeps_core

    predicting(scenario, predict_threads=4)


def test_callers_who_meet_at_a_fast_model_share_its_calls_and_one_alone_does_not_wait(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        lane = await it.lane()
        lane._rules = replace(lane._rules, wait=20)

        def half_a_millisecond() -> None:
            for _ in range(30):
                lane._cost.observe(1, 0.0005)

        half_a_millisecond()
        assert answered(await it.ask(1.0)) == [10.0]
        half_a_millisecond()
        leave = lane.enter()  # somebody whose answer is under way
        both = [it.ask(2.0), it.ask(3.0)]
        assert [answered(await call) for call in both] == [[20.0], [30.0]]
        leave()
        assert [sorted(call) for call in it.notes.calls] == [[1.0], [2.0, 3.0]]
        assert it.notes.threads == ["MainThread"] * 2

    predicting(scenario)


def test_an_engine_that_the_model_has_not_is_refused(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        assert (await it.ask(1.0, engine="runner")).engine == "runner"
        assert await failure_of(it.ask(1.0, engine="abacus")) == ("INVALID_ARGUMENT", "INVALID_FIELD", False)
        assert await failure_of(it.ask(1.0, schema_policy=17)) == ("INVALID_ARGUMENT", "INVALID_FIELD", False)

    predicting(scenario)


def test_models_are_measured_apart_as_far_as_there_is_room(predicting: Any) -> None:
    async def scenario(edge: Any) -> None:
        models = [await Asked.of(edge) for _ in range(4)]
        for it in models:
            await it.ask(-1.0)
        names = [it.model for it in models[:2]] + ["other"]
        for name, count in zip(names, (1, 1, 2), strict=True):
            for kind, least in (("queue", 0.0), ("compute", 0.02), ("total", 0.02)):
                sample, labels = f"modelwire_predict_{kind}_seconds", {"model": name, "engine": "runner"}
                assert edge.metrics.registry.get_sample_value(f"{sample}_count", labels) == count
                assert edge.metrics.registry.get_sample_value(f"{sample}_sum", labels) >= least * count

    predicting(scenario, told_models=2)


def test_one_client_after_the_other_is_read_as_it_is(predicting: Any) -> None:
    """Layouts in turns, with nulls and whole numbers between them."""

    async def scenario(edge: Any) -> None:
        it = await Asked.of(edge)
        for _ in range(2):
            for values in (np.array([1.0, 2.0]), np.array([3]), np.array([4.0]), np.array([5], "f4")):
                assert answered(await it.ask(*values.tolist())) == [10.0 * value for value in values.tolist()]
            assert await failure_of(it.ask(None, 1.0)) == ("INTERNAL", "RUNNER_FAILED", False)

    predicting(scenario)
