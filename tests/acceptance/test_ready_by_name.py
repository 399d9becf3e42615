"""Servers that are told which models to serve: before there are any, when one is broken on disk, and when they are to look anew."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
import pyarrow as pa
import pytest
from serving import RUNNERS, ServerProcess
from storages import POSTGRESQL_AND_FILES, new_storage

from modelwire import Client, FailedPrecondition, Model
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc
from modelwire_server.frames import write_frame

TARGET = f"{RUNNERS / 'constants.py'}:runner"
REQUEST = predict_service_pb2.PredictRequest(
    model="weather", future=frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1.0, 2.0, 3.0]})))
)
CONNECTIONS = 8


@contextmanager
def two_workers(request: pytest.FixtureRequest, folder: Path) -> Iterator[list[ServerProcess]]:
    with ServerProcess(TARGET, data_dir=folder, workers=2, expected_models="weather", predictor_check_seconds=0.1) as server:
        yield [server]


@contextmanager
def two_servers(request: pytest.FixtureRequest, folder: Path) -> Iterator[list[ServerProcess]]:
    with new_storage(POSTGRESQL_AND_FILES, request) as urls, ExitStack() as stack:
        told: dict[str, Any] = {"expected_models": "weather", "predictor_check_seconds": 0.1}
        shared = {"database_url": urls.database_url, "blobs_url": str(folder / "content"), **told}
        servers = [ServerProcess(TARGET, data_dir=folder / name, **shared) for name in ("first", "second")]
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor() as threads:
            list(threads.map(ServerProcess.start, servers))
        yield servers


@pytest.fixture(params=[two_workers, two_servers], ids=["two workers", "two servers"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    with request.param(request, tmp_path) as servers:
        yield servers


@pytest.fixture
def client(servers: Sequence[ServerProcess]) -> Iterator[Client]:
    with Client(servers[0].target) as client:
        yield client


def trained(client: Client, value: float) -> Model:
    """A model that predicts its value."""
    model: Model = client.train(client.configs.create(f"value {value}", {"value": value}), {"x": [1.0]}).wait(timeout=60)
    return model


def get(server: ServerProcess, path: str, body: Any = None) -> tuple[int, Any]:
    """From a worker by chance; what has a body is posted."""
    content = json.dumps(body).encode() if body else None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}", content, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for what nobody tells us of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Callers:
    """Predict by name without pause, over so many connections that each worker has some."""

    def __init__(self, servers: Sequence[ServerProcess]) -> None:
        self._targets = [servers[number % len(servers)].target for number in range(CONNECTIONS)]
        self._over = threading.Event()
        self.answers: list[Counter[str]] = [Counter() for _ in self._targets]
        self.failures: list[grpc.RpcError] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._call, args=[*one]) for one in zip(self._targets, self.answers, strict=True)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, target: str, answers: Counter[str]) -> None:
        with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            predict = predict_service_pb2_grpc.PredictServiceStub(channel).Predict
            while not self._over.is_set():
                try:
                    answer = predict(REQUEST, timeout=30, wait_for_ready=True)
                except grpc.RpcError as error:
                    self.failures.append(error)
                    continue
                (values,) = pa.ipc.open_stream(answer.predictions.arrow).read_all().to_pydict().values()
                assert {f"weather/{value:g}" for value in values} == {answer.model_version}
                answers[answer.model_version] += 1

    def versions(self) -> set[str]:
        """Those that answer from now on, on any connection."""
        before = [one.copy() for one in self.answers]
        until(lambda: all(now.total() > old.total() + 5 for now, old in zip(self.answers, before, strict=True)))
        return {version for now, old in zip(self.answers, before, strict=True) for version in now - old}


def content_of(folder: Path, digest: str) -> Path:
    """The file with some content."""
    (path,) = [one for one in folder.rglob(f"*{digest.removeprefix('sha256:')[8:]}*") if one.is_file()]
    return path


def troubles(servers: Sequence[ServerProcess]) -> list[str]:
    """What each server, or a worker of it by chance, says of the models that it takes care of."""
    return [model["message"] for server in servers for model in get(server, "/health")[1].get("models", [])]


def worker_pid(server: ServerProcess) -> int | None:
    """The process in the first seat of those that answer calls, if there is one."""
    alive = [one for one in server.process.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return next((one.pid for one in alive if one.name() == "modelwire 1"), None)


def replace_a_worker(server: ServerProcess) -> None:
    """Kills a worker, and waits for its successor."""
    victim = worker_pid(server)
    assert victim is not None
    psutil.Process(victim).kill()
    until(lambda: worker_pid(server) not in (None, victim))


def test_servers_start_without_the_model_that_they_are_to_serve(servers: list[ServerProcess], client: Client) -> None:
    for server in servers:
        assert get(server, "/livez") == (200, "LIVE")
        status, problem = get(server, "/readyz")
        assert status == 503
        assert "weather@production: this server is to serve weather@production, but there is no model weather" in problem["detail"]
        assert get(server, "/health/ready/?model=weather")[0] == 503
        status, health = get(server, "/health")
        assert (status, health["status"], health["ready"]) == (200, "degraded", {"weather@production": False})
        future = {"columns": ["x"], "data": [[1.0]]}
        status, problem = get(server, "/api/v1/ml/$predict-now", {"model": "weather", "future": future})
        assert (status, problem["reason"]) == (503, "MODEL_NOT_READY")
        tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}
        assert get(server, "/v2/models/weather/infer", {"inputs": [tensor]})[0] == 503
        assert get(server, "/v2/models/weather/ready") == (503, {"name": "weather", "ready": False})
        status, problem = get(server, "/reload")
        assert (status, problem["models"]) == (200, {"weather@production": False})
        assert get(server, "/reload?model=none")[0] == 400
        assert "model is not available" in server.output()
    with pytest.raises(FailedPrecondition, match="this server is to serve weather@production") as caught:
        client.predict("weather", {"x": [1.0]})
    assert caught.value.reason == "MODEL_NOT_READY"
    (state,) = client.registry.readiness()
    assert (state.model, state.ready, state.expected) == ("weather@production", False, True)
    client.registry.register("weather", trained(client, 1.0), alias="production")
    with Callers(servers) as callers:
        assert callers.versions() == {"weather/1"}
    assert not callers.failures
    for server in servers:
        assert {get(server, "/readyz") for _ in range(10)} == {(200, "READY")}
        assert get(server, "/health/ready/?model=weather@production") == (200, "READY")
        assert get(server, "/health")[1]["status"] == "healthy"
        assert get(server, "/v2/models/weather/ready")[0] == 200


def test_the_version_before_goes_on_where_the_new_one_is_broken_and_a_reload_reaches_all(
    servers: list[ServerProcess], client: Client, tmp_path: Path
) -> None:
    client.registry.register("weather", trained(client, 1.0), alias="production")
    second = trained(client, 2.0)
    client.registry.register("weather", second)
    with Callers(servers) as callers:
        assert callers.versions() == {"weather/1"}
        # One process has it in memory, and can point the alias to it; for the others it is broken.
        client.predict(second, {"x": [1.0]})
        file = content_of(tmp_path, client.artifacts.get(second.id).digest)
        good = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(b"broken")
        client.registry.promote("weather", 2)
        assert callers.versions() == {"weather/1", "weather/2"}
        until(lambda: any("weather/2 cannot be loaded" in text for text in troubles(servers)))
        for server in servers:
            assert {get(server, "/readyz") for _ in range(10)} == {(200, "READY")}
        if len(servers) == 1:
            replace_a_worker(servers[0])
        client.registry.reload("weather")
        assert callers.versions() <= {"weather/1", "weather/2"}
        file.write_bytes(good)
        client.registry.reload()
        until(lambda: callers.versions() == {"weather/2"})
        until(lambda: not any(troubles(servers)))
    # Calls of a worker that was killed end with it.
    assert {failure.code() for failure in callers.failures} <= {grpc.StatusCode.UNAVAILABLE}
    assert len(callers.failures) <= CONNECTIONS
