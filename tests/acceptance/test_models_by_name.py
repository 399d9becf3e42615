"""Models by name, as people use them: by gRPC, over REST and from the command line, with several versions, over restarts."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pytest
from serving import RUNNERS, ServerProcess

from modelwire import Client, FailedPrecondition, Model, NotFound

TARGET = f"{RUNNERS / 'constants.py'}:runner"
FUTURE = pa.table({"x": [1.0, 2.0]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests, each of which has names of its own."""
    with ServerProcess(TARGET, data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


@pytest.fixture(scope="module")
def models(client: Client) -> tuple[Model, Model]:
    """The first predicts 1, the second 2."""
    return trained(client, 1), trained(client, 2)


@pytest.fixture
def weather(client: Client, models: tuple[Model, Model]) -> str:
    """A name: version 1 predicts 1 and is production, version 2 predicts 2."""
    name = f"weather-{uuid.uuid4().hex}"
    client.registry.register(name, models[0], alias="production")
    client.registry.register(name, models[1])
    return name


def trained(client: Client, value: float) -> Model:
    """A model that predicts its value."""
    model: Model = client.train(client.configs.create("constant", {"value": value}), {"x": [1.0]}).wait(timeout=60)
    return model


def predicted(client: Client, model: str) -> float:
    (value,) = set(client.predict(model, FUTURE)["prediction"].to_pylist())
    return float(value)


def rest(server: ServerProcess, path: str, body: Any = None, method: str | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}/api/v1{path}", content, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
        text = answer.read()
        return json.loads(text) if text else None


def test_model_metadata_is_stored_and_listed(client: Client, server: ServerProcess, weather: str) -> None:
    """Id, version, algorithm, training date, features, target, metrics, framework, and where the artifact is."""
    model = trained(client, 1)
    made = client.registry.register(
        weather, model, algorithm="constant", features=["x"], target="y", metrics={"accuracy": 0.9}, framework="none"
    )
    listed, *_ = rest(server, f"/models/{weather}/versions")
    said = {"algorithm": "constant", "features": ["x"], "target": "y", "metrics": {"accuracy": 0.9}, "framework": "none"}
    assert {key: listed[key] for key in said} == said
    assert (listed["name"], listed["version"], listed["artifact_id"]) == (weather, 3, model.id)
    assert made.trained_at is not None
    assert listed["trained_at"].startswith(made.trained_at.strftime("%Y-%m-%dT%H:%M:%S"))
    assert model.created_at <= made.created_at


def test_active_models_are_listed_with_the_time_of_their_deployment(client: Client, server: ServerProcess, weather: str) -> None:
    (model,) = [model for model in rest(server, "/models") if model["name"] == weather]
    assert model["aliases"] == {"production": 1}
    client.registry.promote(weather, 2)
    (deployed,) = [event for event in islice(client.registry.watch(weather), 4) if event.kind == "promoted" and event.version == 2]
    (model,) = [model for model in rest(server, "/models") if model["name"] == weather]
    assert model["aliases"] == {"production": 2}
    assert deployed.time >= client.registry.version(weather, 2).created_at


def test_predict_by_model_name(client: Client, server: ServerProcess, weather: str) -> None:
    asked = {weather: 1, f"{weather}@production": 1, f"{weather}/1": 1, f"{weather}/2": 2}
    assert {model: predicted(client, model) for model in asked} == asked
    frame = {"columns": ["x"], "data": [[1.0]]}
    over_rest = {model: rest(server, "/ml/$predict-now", {"model": model, "future": frame}) for model in asked}
    assert {model: answer["predictions"]["data"][0][-1] for model, answer in over_rest.items()} == asked
    assert {model: answer["model_version"] for model, answer in over_rest.items()} == {
        model: f"{weather}/{version}" for model, version in asked.items()
    }


def test_a_version_that_is_not_active_predicts_all_the_same(client: Client, weather: str) -> None:
    client.registry.promote(weather, 2)
    assert (predicted(client, weather), predicted(client, f"{weather}/1")) == (2, 1)


@pytest.mark.parametrize("model", ["nobody", "nobody@production", "{weather}/9", "{weather}@canary"])
def test_an_unknown_name_version_or_alias_is_not_found(client: Client, server: ServerProcess, weather: str, model: str) -> None:
    asked = model.format(weather=weather)
    with pytest.raises(NotFound) as caught:
        predicted(client, asked)
    assert caught.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(urllib.error.HTTPError) as refused:
        rest(server, "/ml/$predict-now", {"model": asked, "future": {"columns": ["x"], "data": [[1.0]]}})
    refused.value.close()
    assert refused.value.code == 404


def test_a_job_by_name_is_of_the_version_that_the_name_meant(client: Client, server: ServerProcess, weather: str) -> None:
    frame = {"columns": ["x"], "data": [[1.0]]}
    submitted = rest(server, "/ml/$predict", {"artifact_id": weather, "historic": {"columns": ["x"], "data": []}, "future": frame})
    client.registry.promote(weather, 2)
    made = client.jobs.get(submitted["job_id"]).wait(timeout=60)
    assert made.parent_id == client.registry.version(weather, 1).artifact_id
    assert made.frame()["prediction"].to_pylist() == [1]


def test_names_versions_aliases_and_events_outlive_the_server(client: Client, server: ServerProcess, weather: str) -> None:
    client.registry.promote(weather, 2, "staging")
    before = (
        client.registry.get(weather),
        list(client.registry.versions(weather)),
        list(islice(client.registry.watch(weather), 4)),
    )
    server.kill()
    server.start()
    with Client(server.target) as other:
        assert (predicted(other, weather), predicted(other, f"{weather}@staging")) == (1, 2)
        after = (
            other.registry.get(weather),
            list(other.registry.versions(weather)),
            list(islice(other.registry.watch(weather), 4)),
        )
    assert after == before


def test_a_watch_goes_on_over_a_restart(client: Client, server: ServerProcess, weather: str) -> None:
    events = client.registry.watch(weather)
    seen = [next(events) for _ in range(3)]
    server.kill()
    server.start()
    with Client(server.target) as other:
        other.registry.promote(weather, 2)
    event = next(events)
    assert (event.kind, event.version, event.previous_version, event.sequence) == ("promoted", 2, 1, seen[-1].sequence + 1)


def test_a_model_that_has_a_name_cannot_be_lost(client: Client, weather: str) -> None:
    model = client.registry.version(weather, 1).artifact_id
    for delete in (lambda: client.models.delete(model), lambda: client.registry.delete_version(weather, 1)):
        with pytest.raises(FailedPrecondition) as caught:
            delete()
        assert caught.value.reason == "MODEL_IN_USE"
    assert predicted(client, weather) == 1


def test_grpcurl_registers_promotes_and_follows(client: Client, server: ServerProcess, weather: str) -> None:
    path = shutil.which("grpcurl")
    if path is None:
        pytest.fail("grpcurl is not installed; `make tools` installs it")

    def grpcurl(method: str, *options: str, **request: Any) -> str:
        command = [path, "-plaintext", *options, "-d", json.dumps(request), server.target, f"modelwire.v1.ModelService/{method}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=not options).stdout

    artifact = client.registry.version(weather, 2).artifact_id
    made = json.loads(grpcurl("RegisterModelVersion", name=weather, artifact_id=artifact, alias="staging"))
    assert (made["version"]["version"], made["version"]["aliases"]) == (3, ["staging"])
    assert json.loads(grpcurl("PromoteModel", name=weather, version="staging"))["model"]["aliases"] == {
        "production": 3,
        "staging": 3,
    }
    told = grpcurl("WatchModels", "-max-time", "2", name=weather)
    assert [json.loads(part + "}")["kind"].removeprefix("MODEL_EVENT_KIND_") for part in told.split("\n}")[:5]] == [
        *("REGISTERED", "PROMOTED", "REGISTERED"),
        *("REGISTERED", "PROMOTED"),
    ]
