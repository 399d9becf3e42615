"""Models by name from Python: versions, aliases, gates, and following what happens to them."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import grpc
import pandas as pd
import pytest

from modelwire import (
    AsyncClient,
    Client,
    FailedPrecondition,
    GateFinding,
    GoldenRows,
    InvalidArgument,
    MetricBounds,
    Model,
    ModelEvent,
    NotFound,
    PromotionGate,
    Unavailable,
)
from modelwire.v1 import model_service_pb2 as pb
from modelwire.v1.model_service_pb2_grpc import ModelServiceServicer

FUTURE = pd.DataFrame({"x": [2.0]})


@pytest.fixture
def name() -> str:
    """The server is shared."""
    return f"line-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def steeper(target: str) -> Model:
    """A line with the slope 5."""
    with Client(target) as client:
        config = client.configs.create("steeper", {"slope": 5, "steps": 2})
        return client.train(config, {"x": [1.0, 2.0], "y": [2.0, 4.0]}).wait(timeout=60)


def answer(client: Client, model: str) -> float:
    return float(client.predict(model, FUTURE)["y"][0])


def test_versions_are_registered_with_what_is_known_of_them(client: Client, model: Model, steeper: Model, name: str) -> None:
    first = client.registry.register(name, model, description="the first", tags=["a"], stage="staging", metrics={"accuracy": 0.9})
    assert (first.name, first.version, first.reference, first.artifact_id) == (name, 1, f"{name}/1", model.id)
    assert (first.description, first.tags, first.stage, first.runner_id) == ("the first", ("a",), "staging", "line")
    assert first.trained_at is not None
    assert first.features == ("x", "y")
    second = client.registry.register(
        name, steeper.id, metrics={"accuracy": 1}, algorithm="line", features=["x"], target="y", framework="pandas 2"
    )
    assert (second.version, second.metrics) == (2, {"accuracy": 1.0, "loss": 0.5})
    assert (second.algorithm, second.features, second.target, second.framework) == ("line", ("x",), "y", "pandas 2")
    assert list(client.registry.versions(name)) == [second, first]
    assert [found.version for found in client.registry.versions(name, stage="staging")] == [1]
    assert client.registry.version(name, 2) == client.registry.version(name, "2") == second


def test_predictions_follow_an_alias_as_it_moves(client: Client, model: Model, steeper: Model, name: str) -> None:
    client.registry.register(name, model, alias="production")
    client.registry.register(name, steeper)
    assert [answer(client, by) for by in (name, f"{name}@production", f"{name}/1", f"{name}/2")] == [6, 6, 6, 10]
    assert client.registry.promote(name, 2).aliases == {"production": 2}
    assert answer(client, name) == 10
    assert client.registry.promote(name, 1, "staging").aliases == {"production": 2, "staging": 1}
    assert client.registry.promote(name, "staging").aliases == {"production": 1, "staging": 1}
    assert client.registry.rollback(name).aliases == {"production": 2, "staging": 1}
    assert (answer(client, name), answer(client, f"{name}@staging")) == (10, 6)
    client.registry.remove_alias(name, "staging")
    with pytest.raises(NotFound, match="has no alias staging") as caught:
        answer(client, f"{name}@staging")
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_a_job_predicts_by_name_and_keeps_to_the_version_that_it_began_with(
    client: Client, model: Model, steeper: Model, name: str
) -> None:
    client.registry.register(name, model, alias="production")
    job = client.submit_prediction(name, FUTURE)
    client.registry.register(name, steeper, alias="production")
    made = job.wait(timeout=60)
    assert made.parent_id == model.id
    assert made.frame("pandas")["y"][0] == 6
    many = list(client.predict_many(f"{name}@production", [FUTURE, FUTURE]))
    assert [float(frame["y"][0]) for frame in many] == [10, 10]


def test_what_people_write_can_be_changed(client: Client, model: Model, name: str) -> None:
    client.registry.register(name, model)
    changed = client.registry.update(name, description="lines", tags=[name])
    assert (changed.description, changed.tags) == ("lines", (name,))
    assert list(client.registry.list(tags=[name])) == [changed] == [client.registry.get(name)]
    version = client.registry.update_version(name, 1, stage="archived", description="old")
    assert (version.stage, version.description) == ("archived", "old")
    assert client.registry.update_version(name, 1, stage="").stage == ""
    with pytest.raises(ValueError, match="BEST"):
        client.registry.update_version(name, 1, stage="best")  # type: ignore[arg-type]


def test_names_and_versions_are_forgotten_and_the_models_stay(client: Client, model: Model, steeper: Model, name: str) -> None:
    for made in (model, steeper):
        client.registry.register(name, made, alias="production")
    with pytest.raises(FailedPrecondition) as caught:
        client.registry.delete_version(name, 2)
    assert (caught.value.reason, caught.value.metadata["aliases"]) == ("MODEL_IN_USE", "production")
    client.registry.delete_version(name, 1)
    with pytest.raises(FailedPrecondition) as caught:
        client.registry.rollback(name)
    assert caught.value.reason == "NOTHING_TO_ROLL_BACK"
    client.registry.delete(name)
    with pytest.raises(NotFound):
        client.registry.get(name)
    assert client.models.get(model.id) == model


def test_a_gate_names_each_rule_that_is_broken(client: Client, model: Model, name: str) -> None:
    client.registry.register(name, model, metrics={"accuracy": 0.6})
    gate = PromotionGate(
        metrics={"accuracy": MetricBounds(minimum=0.7)},
        required=("description",),
        schema="compatible",
        golden=GoldenRows(dataset_id=client.datasets.upload(FUTURE).id, max_seconds=30),
    )
    assert client.registry.update(name, gate=gate).gate == gate
    findings = client.registry.check(name, 1)
    assert all(isinstance(finding, GateFinding) for finding in findings)
    broken = {finding.rule for finding in findings if not finding.passed}
    assert broken == {"metrics.accuracy.minimum", "required.description"}
    with pytest.raises(FailedPrecondition) as caught:
        client.registry.promote(name, 1)
    assert caught.value.reason == "PROMOTION_REFUSED"
    assert {violation.field for violation in caught.value.violations} == broken
    assert client.registry.get(name).aliases == {}
    assert client.registry.promote(name, 1, override="it must be").aliases == {"production": 1}
    assert [event.override for event in islice(client.registry.watch(name), 3)] == ["", "", "it must be"]
    assert client.registry.update(name, gate={}).gate in (None, PromotionGate())


def test_a_gate_that_cannot_be_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(InvalidArgument, match='no field named "least"'):
        client.registry.update("line", gate={"metrics": {"accuracy": {"least": 0.7}}})


def test_the_asynchronous_client_does_the_same(target: str, model: Model, steeper: Model, name: str) -> None:
    async def scenario() -> None:
        async with AsyncClient(target) as client:
            await client.registry.register(name, model.id, alias="production")
            events = client.registry.watch(name)
            assert (await anext(events)).kind == "registered"
            await client.registry.register(name, steeper.id)
            await client.registry.promote(name, 2)
            assert float((await client.predict(name, FUTURE))["y"][0]) == 10
            assert [(await anext(events)).kind for _ in range(3)] == ["promoted", "registered", "promoted"]
            await events.aclose()  # type: ignore[attr-defined]
            assert [version.version async for version in client.registry.versions(name)] == [2, 1]
            assert [found.name async for found in client.registry.list() if found.name == name] == [name]

    asyncio.run(scenario())


def test_events_tell_what_happened_from_wherever_one_asks(client: Client, model: Model, steeper: Model, name: str) -> None:
    client.registry.register(name, model, alias="production")
    client.registry.register(name, steeper)
    client.registry.promote(name, 2)
    client.registry.rollback(name)
    client.registry.remove_alias(name, "production")
    client.registry.delete_version(name, 2)
    client.registry.delete(name)
    events = list(islice(client.registry.watch(name), 8))
    assert [(event.kind, event.version, event.previous_version) for event in events] == [
        ("registered", 1, 0),
        ("promoted", 1, 0),
        ("registered", 2, 0),
        ("promoted", 2, 1),
        ("rolled_back", 1, 2),
        ("alias_removed", 0, 1),
        ("version_deleted", 2, 0),
        ("deleted", 0, 0),
    ]
    assert list(islice(client.registry.watch(name, after=events[5].sequence), 2)) == events[6:]


Part = pb.WatchModelsResponse | Callable[[grpc.ServicerContext], None]


def test_models_that_can_predict_are_told_and_looked_for(target: str, client: Client, model: Model, name: str) -> None:
    with pytest.raises(NotFound, match=f"there is no model {name}"):
        client.registry.readiness(name)
    client.registry.register(name, model, alias="production")
    (state,) = client.registry.readiness(name)
    assert (state.model, state.ready, state.version, state.message) == (f"{name}@production", True, 1, "")
    assert state.checked_at is not None
    assert state.next_attempt_at is None
    assert f"{name}@production" in {one.model for one in client.registry.reload()}

    async def ask() -> None:
        async with AsyncClient(target) as asking:
            assert await asking.registry.readiness(name) == (state,)
            assert state.model in {one.model for one in await asking.registry.reload()}

    asyncio.run(ask())


def told(sequence: int, kind: str = "PROMOTED") -> pb.WatchModelsResponse:
    return pb.WatchModelsResponse(sequence=sequence, kind=pb.ModelEventKind.Value(f"MODEL_EVENT_KIND_{kind}"), name="line")


def beat(sequence: int) -> pb.WatchModelsResponse:
    return told(sequence, "UNSPECIFIED")


def breaks(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "as told")


class Watched(ModelServiceServicer):
    """Answers each WatchModels with the next of its scripts."""

    def __init__(self, *scripts: list[Part]) -> None:
        self._scripts = iter(scripts)
        self.requests: list[pb.WatchModelsRequest] = []

    def WatchModels(self, request: pb.WatchModelsRequest, context: Any) -> Iterator[pb.WatchModelsResponse]:
        self.requests.append(request)
        for part in next(self._scripts, [breaks]):
            if isinstance(part, pb.WatchModelsResponse):
                yield part
            else:
                part(context)


def watch(target: str, count: int, **options: Any) -> list[ModelEvent]:
    with Client(target) as client:
        return list(islice(client.registry.watch(**options), count))


def watch_async(target: str, count: int, **options: Any) -> list[ModelEvent]:
    async def collect() -> list[ModelEvent]:
        found: list[ModelEvent] = []
        async with AsyncClient(target) as client:
            async for event in client.registry.watch(**options):
                found.append(event)
                if len(found) == count:
                    break
        return found

    return asyncio.run(collect())


both = pytest.mark.parametrize("watch", [watch, watch_async], ids=["blocking", "asyncio"])


@both
def test_a_broken_watch_loses_nothing_and_repeats_nothing(serve: Any, watch: Any) -> None:
    servicer = Watched([told(1), beat(1), told(4), breaks], [breaks], [told(4), told(6), breaks], [told(7)])
    assert [event.sequence for event in watch(serve(servicer), 4)] == [1, 4, 6, 7]
    assert [request.after_sequence for request in servicer.requests] == [0, 4, 4, 6]


@both
def test_a_watch_of_what_is_new_goes_on_from_where_it_began(serve: Any, watch: Any) -> None:
    servicer = Watched([beat(5), breaks], [told(6), told(7)])
    assert [event.sequence for event in watch(serve(servicer), 2, after=-1)] == [6, 7]
    assert [request.after_sequence for request in servicer.requests] == [-1, 5]


@both
def test_a_server_that_ends_the_watch_is_asked_again(serve: Any, watch: Any) -> None:
    servicer = Watched([told(1)], [told(2)])
    assert [event.sequence for event in watch(serve(servicer), 2)] == [1, 2]


@both
def test_reconnecting_has_an_end(serve: Any, watch: Any) -> None:
    with pytest.raises(Unavailable, match="as told"):
        watch(serve(Watched()), 1, reconnect_for=0.3)


@both
def test_what_a_newer_server_tells_is_passed_over(serve: Any, watch: Any) -> None:
    newer = pb.WatchModelsResponse(sequence=1, name="line")
    newer.MergeFromString(b"\x18\x63")  # kind: 99
    assert [event.sequence for event in watch(serve(Watched([newer, told(2)])), 1)] == [2]


@both
def test_a_watch_says_what_of_and_how_often_it_wants_a_sign(serve: Any, watch: Any) -> None:
    servicer = Watched([told(1)])
    watch(serve(servicer), 1, name="line", heartbeat=2)
    assert (servicer.requests[0].name, servicer.requests[0].heartbeat_interval.ToMilliseconds()) == ("line", 2000)
