"""Models that live in an MLflow registry, with a real MLflow server: from there they come to serve here, without a restart."""

import json
import os
import pickle
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import MLflowServer, is_installed, mlflow_server
from postgres import free_port
from serving import ServerProcess

from modelwire import Client, InvalidArgument, NotFound, PermissionDenied, Unavailable

# The client of MLflow takes seconds to be imported, more on a busy machine.
PATIENCE = 60
RELOAD_RECEIVED, NOT_AVAILABLE, LOADED = "model reload request received", "model is not available", "model is loaded"


@pytest.fixture(scope="module")
def mlflow() -> Iterator[MLflowServer]:
    if not is_installed() and "CI" not in os.environ:
        pytest.skip("MLflow is not installed: make mlflow")
    with mlflow_server() as server:
        yield server


@pytest.fixture
def there() -> str:
    """The name of a model in MLflow."""
    return f"Wine-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def start(mlflow: MLflowServer, tmp_path: Path) -> Iterator[Callable[..., "Follower"]]:
    """Starts a server that follows a model in MLflow, under the name `wine`."""
    with ExitStack() as stack:

        def started(uri: str, *, server: str = "", watch: str = "on-request", every: float = 0.5, **settings: Any) -> Follower:
            source = {"name": "wine", "uri": uri, "watch": watch, "every": every, **settings.pop("source", {})}
            chosen = {"mlflow_url": server or mlflow.url, "sources": json.dumps([source]), "log_format": "json", **settings}
            data_dir = Path(chosen.pop("data_dir", tmp_path / "data"))
            return Follower(stack.enter_context(ServerProcess(data_dir=data_dir, **chosen)))

        yield started


class Follower:
    """A server that follows a model, and what it says."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process

    def log(self, *events: str) -> list[dict[str, Any]]:
        """What is in its log, or only some events."""
        lines = [json.loads(line) for line in self.process.output().splitlines() if line.startswith("{")]
        return [line for line in lines if not events or line["event"] in events]

    def said(self) -> list[tuple[str, str]]:
        """The lines of its log that are about the model, in their order."""
        return [(line["level"], line["event"]) for line in self.log(RELOAD_RECEIVED, NOT_AVAILABLE, LOADED)]

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.process.http_port}{path}"
        request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def predicted(self) -> float | None:
        """What the model predicts; None while it does not."""
        status, answer = self.rest("/predict", {"features": {"x": 1.0}})
        assert status in (200, 503), answer
        return None if status == 503 else answer["prediction"]

    def reload(self) -> None:
        assert self.rest("/reload")[0] in (200, 202)


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_warned(server: Follower, times: int = 1) -> Callable[[], bool]:
    return lambda: len(server.log(NOT_AVAILABLE)) >= times


def champion(mlflow: MLflowServer, name: str, value: float, **more: Any) -> None:
    """Trains a model, and gives it the alias."""
    mlflow.set_alias(name=name, alias="champion", version=mlflow.train(name=name, value=value, **more))


def test_train_in_mlflow_set_the_alias_and_it_serves_within_seconds_without_a_restart(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    server = start(f"mlflow:{there}@champion", watch="always", every=None)
    until(has_warned(server))
    assert server.predicted() is None
    version = mlflow.train(name=there, value=1)
    mlflow.set_alias(name=there, alias="champion", version=version)
    set_at = time.monotonic()
    until(lambda: server.predicted() == 1, seconds=15)
    print(f"the first version serves {time.monotonic() - set_at:.1f} s after its alias is set")
    version = mlflow.train(name=there, value=2)
    mlflow.set_alias(name=there, alias="champion", version=version)
    set_at = time.monotonic()
    until(lambda: server.predicted() == 2, seconds=15)
    print(f"the next one after {time.monotonic() - set_at:.1f} s")
    with Client(server.process.target) as client:
        newest = client.registry.version("wine", "production")
    assert (newest.reference, newest.source, newest.format) == ("wine/2", f"mlflow:{there}/{version}", "skops")
    assert (newest.metrics, newest.features) == ({"rmse": 2.0}, ("x",))
    assert (newest.algorithm, newest.framework.split()[0]) == ("DummyRegressor", "scikit-learn")


def test_d1_api_starts_without_any_model(there: str, start: Callable[..., Follower]) -> None:
    """The process is healthy, and not ready for the model."""
    server = start(f"mlflow:{there}@champion")
    assert server.rest("/livez")[0] == 200
    until(has_warned(server))
    assert server.rest("/readyz")[0] == 503
    assert server.process.process.is_running()


def test_d2_warning_in_the_log_when_the_model_is_missing(there: str, start: Callable[..., Follower]) -> None:
    server = start(f"mlflow:{there}@champion")
    until(has_warned(server))
    (warning,) = server.log(NOT_AVAILABLE)
    assert (warning["level"], warning["model"], warning["source"]) == ("warning", "wine", f"mlflow:{there}@champion")
    assert "not found" in warning["why"]


def test_d3_start_up_tries_to_load_once(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    """The registry has a model: predictions work without a reload."""
    champion(mlflow, there, 7)
    server = start(f"mlflow:{there}@champion")
    until(lambda: server.predicted() == 7)
    assert server.said() == [("info", LOADED)]
    assert server.rest("/readyz")[0] == 200


def test_d5_get_reload_asks_for_a_reload_and_answers_at_once(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion")
    until(lambda: server.predicted() == 1)
    champion(mlflow, there, 2)
    assert server.predicted() == 1
    begin = time.monotonic()
    server.reload()
    assert time.monotonic() - begin < 5
    until(lambda: server.predicted() == 2)


def test_d6_no_registry_traffic_unless_a_reload_was_asked(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    """And d8: after success polling stops."""
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion", every=0.2)
    until(lambda: server.log(LOADED))
    before = mlflow.calls(there)
    for _ in range(20):
        assert server.predicted() == 1
        time.sleep(0.1)
    assert mlflow.calls(there) == before
    server.reload()
    until(lambda: len(server.log(LOADED)) == 2)
    assert len(mlflow.calls(there)) == len(before) + 1


def test_d7_after_a_reload_request_without_model_it_retries_until_one_loads(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    """Every second here; every 10 seconds unless a source says otherwise."""
    server = start(f"mlflow:{there}@champion", every=1)
    until(has_warned(server))
    time.sleep(2.5)
    assert len(server.log(NOT_AVAILABLE)) == 1, "nobody asked"
    server.reload()
    until(has_warned(server, 4))
    times = [line["timestamp"] for line in server.log(NOT_AVAILABLE)[1:]]
    assert len(times) == len(set(times))
    champion(mlflow, there, 3)
    until(lambda: server.predicted() == 3)


def test_d8_after_success_polling_stops(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    server = start(f"mlflow:{there}@champion", every=0.2)
    server.reload()
    until(has_warned(server, 3))
    champion(mlflow, there, 3)
    until(lambda: server.log(LOADED))
    calls, said = mlflow.calls(there), server.said()
    time.sleep(2)
    assert (mlflow.calls(there), server.said()) == (calls, said)


def test_d9_only_the_model_in_stage_production_is_taken(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    versions = [mlflow.train(name=there, value=value) for value in (1, 2)]
    mlflow.set_stage(name=there, version=versions[1], stage="Staging")
    server = start(f"mlflow:{there}/Production", watch="always", every=0.2)
    until(has_warned(server))
    assert "no version" in server.log(NOT_AVAILABLE)[0]["why"]
    mlflow.set_stage(name=there, version=versions[0], stage="Production")
    until(lambda: server.predicted() == 1)
    mlflow.set_stage(name=there, version=versions[1], stage="Production")
    until(lambda: server.predicted() == 2)


def test_d10_loader_is_set_up_with_server_address_model_name_and_stage(mlflow: MLflowServer, there: str, tmp_path: Path) -> None:
    """As options, where d16: it runs without Docker, with plain commands."""
    mlflow.set_stage(name=there, version=mlflow.train(name=there, value=4), stage="Production")
    options = ("--source", f"wine=mlflow:{there}/Production", "--mlflow", mlflow.url, "--watch", "on-request")
    with ServerProcess(*options, data_dir=tmp_path, log_format="json") as process:
        until(lambda: Follower(process).predicted() == 4)


def test_d11_predict_uses_the_loaded_model_and_before_any_says_503(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    server = start(f"mlflow:{there}@champion", watch="always")
    status, problem = server.rest("/predict", {"features": {"x": 1.0}})
    assert (status, problem["status"]) == (503, 503)
    with Client(server.process.target) as client, pytest.raises(Exception, match="wine") as refused:
        client.predict("wine", {"x": [1.0]})
    assert getattr(refused.value, "reason", "") == "MODEL_NOT_READY"
    champion(mlflow, there, 5)
    until(lambda: server.predicted() == 5)
    with Client(server.process.target) as client:
        assert client.predict("wine", {"x": [1.0, 2.0]})["prediction"].to_pylist() == [5, 5]


def test_d12_old_model_keeps_serving_while_a_new_one_loads(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion")
    until(lambda: server.predicted() == 1)
    champion(mlflow, there, 2)
    server.reload()
    seen: list[float | None] = []
    until(lambda: seen.append(server.predicted()) or seen[-1] == 2)
    assert set(seen) == {1, 2}
    assert seen == sorted(seen), "once the new one has answered, the old one does not"


def test_d13_shutdown_cancels_the_watcher(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    """While it waits for a model, and also while it waits for a server that does not answer."""
    server = start(f"mlflow:{there}@champion")
    server.reload()
    until(has_warned(server, 2))
    helpers = [child for child in server.process.process.children(recursive=True) if "mlflow_program" in " ".join(child.cmdline())]
    assert helpers
    assert server.process.stop() == 0
    assert not any(helper.is_running() for helper in helpers)
    assert "Task was destroyed" not in server.process.output()
    assert "Traceback" not in server.process.output()


def test_d17_runs_on_5002_with_workers_and_a_timeout_of_120_seconds(mlflow: MLflowServer, there: str, tmp_path: Path) -> None:
    """The ports are the settings of a server under a supervisor, which replaces what hangs for 120 seconds."""
    champion(mlflow, there, 6)
    sources = f"wine=mlflow:{there}@champion"
    settings = {"sources": sources, "mlflow_url": mlflow.url, "workers": 2, "worker_timeout": 120, "default_deadline": 120}
    with ServerProcess(data_dir=tmp_path, log_format="json", **settings) as process:
        until(lambda: Follower(process).predicted() == 6)


def test_d18_log_lines_and_their_order(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    """A warning at the start; the request; warnings until one is loaded; success."""
    server = start(f"mlflow:{there}@champion", every=0.5)
    until(has_warned(server))
    server.reload()
    until(has_warned(server, 4))
    champion(mlflow, there, 1)
    until(lambda: server.log(LOADED))
    warning = ("warning", NOT_AVAILABLE)
    first, asked, *others, success = server.said()
    assert (first, asked, success) == (warning, ("info", RELOAD_RECEIVED), ("info", LOADED))
    assert len(others) >= 3
    assert set(others) == {warning}


def test_d19_watch_mode_picks_a_new_production_version_up_unasked(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion", watch="always", every=0.2)
    until(lambda: server.predicted() == 1)
    champion(mlflow, there, 2)
    until(lambda: server.predicted() == 2)
    mlflow.set_alias(name=there, alias="champion", version="1")
    until(lambda: server.predicted() == 1)
    assert RELOAD_RECEIVED not in server.process.output()
    with Client(server.process.target) as client:
        versions = [version.source for version in client.registry.versions("wine")]
    assert versions == [f"mlflow:{there}/2", f"mlflow:{there}/1"], "what was imported once is not imported again"


def test_d21_reload_reaches_all_workers_and_servers(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower], postgres_url: str, tmp_path: Path
) -> None:
    """Each server has two workers; one process of all asks MLflow."""
    champion(mlflow, there, 1)
    shared = {"workers": 2, "database_url": postgres_url, "blobs_url": str(tmp_path / "blobs")}
    servers = [start(f"mlflow:{there}@champion", data_dir=tmp_path / name, **shared) for name in ("a", "b")]
    for server in servers:
        until(lambda server=server: server.predicted() == 1)
    champion(mlflow, there, 2)
    before = len(mlflow.calls(there))
    servers[1].reload()
    until(lambda: any(len(server.log(LOADED)) == 2 for server in servers))
    for server in servers:
        # Each call has a connection of its own, and the kernel shares these out.
        assert {server.predicted() for _ in range(20)} == {2}
    asked = mlflow.calls(there)[before:]
    assert sum("registered-models/alias" in call for call in asked) == 1
    assert sum(len(server.log(LOADED)) for server in servers) == 2


def test_another_server_follows_when_the_one_that_does_is_killed(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower], postgres_url: str, tmp_path: Path
) -> None:
    champion(mlflow, there, 1)
    shared = {"database_url": postgres_url, "blobs_url": str(tmp_path / "blobs"), "watch": "always"}
    first = start(f"mlflow:{there}@champion", data_dir=tmp_path / "a", **shared)
    until(lambda: first.predicted() == 1)
    second = start(f"mlflow:{there}@champion", data_dir=tmp_path / "b", **shared)
    first.process.kill()
    champion(mlflow, there, 2)
    until(lambda: second.predicted() == 2)


def test_a_server_of_models_that_does_not_answer_is_asked_again(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    server = start(f"mlflow:{there}@champion", server=f"http://127.0.0.1:{free_port()}", watch="always")
    until(has_warned(server))
    assert "MLflow does not answer" in server.log(NOT_AVAILABLE)[0]["why"]
    assert server.rest("/livez")[0] == 200
    with Client(server.process.target) as client, pytest.raises(Unavailable) as refused:
        client.registry.import_model("other", f"mlflow:{there}@champion")
    assert refused.value.reason == "SOURCE_UNAVAILABLE"


def test_a_rollback_here_holds_until_the_registry_has_another_version(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion", watch="always", every=0.2)
    until(lambda: server.predicted() == 1)
    champion(mlflow, there, 2)
    until(lambda: server.predicted() == 2)
    with Client(server.process.target) as client:
        client.registry.rollback("wine")
        looked = len(mlflow.calls(there))
        until(lambda: len(mlflow.calls(there)) > looked + 5)
        assert server.predicted() == 1
    champion(mlflow, there, 3)
    until(lambda: server.predicted() == 3)


def test_a_version_that_breaks_a_rule_of_the_gate_does_not_serve(
    mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    champion(mlflow, there, 1)
    server = start(f"mlflow:{there}@champion", watch="always", every=0.2)
    until(lambda: server.predicted() == 1)
    with Client(server.process.target) as client:
        client.registry.update("wine", gate={"metrics": {"rmse": {"maximum": 1.5}}})
    champion(mlflow, there, 2)
    until(has_warned(server))
    assert "rmse" in server.log(NOT_AVAILABLE)[0]["why"]
    assert server.predicted() == 1


def test_a_model_of_onnx_predicts(mlflow: MLflowServer, there: str, tmp_path: Path, start: Callable[..., Follower]) -> None:
    """Its weights are in a file of their own there."""
    file = tmp_path / "model.onnx"
    file.write_bytes(linear_graph())
    mlflow.set_alias(name=there, alias="champion", version=mlflow.register_onnx(name=there, file=str(file)))
    server = start(f"mlflow:{there}@champion")
    until(lambda: server.log(LOADED) or server.log(NOT_AVAILABLE))
    with Client(server.process.target) as client:
        predicted = client.predict("wine", {f"x{number}": [1.0, 2.0] for number in range(FEATURES)})
        assert client.registry.version("wine", "production").format == "onnx"
    assert [round(value) for value in predicted.column(predicted.column_names[-1]).to_pylist()] == [FEATURES, 2 * FEATURES]


FEATURES = 300


def linear_graph() -> bytes:
    """Adds the features up, with weights that are large enough to be put elsewhere."""
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    model.coef_, model.intercept_, model.n_features_in_ = np.ones(FEATURES), 0.0, FEATURES
    content: bytes = to_onnx(model, np.zeros((1, FEATURES), dtype=np.float32)).SerializeToString()
    return content


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self._path),))


def description(flavours: Mapping[str, Any]) -> str:
    return json.dumps({"flavors": flavours})


WAYS_IN = {
    "sklearn": ({"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}}, "model.pkl"),
    "pyfunc": ({"python_function": {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl"}}, "model.pkl"),
    "as skops": ({"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}, "model.skops"),
    "as onnx": ({"onnx": {"data": "model.onnx"}}, "model.onnx"),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize(
    ("grant", "trusts"), [("", "false"), ("", "true"), ("we made it", "false")], ids=["no grant", "no grant for it", "not allowed"]
)
def test_a_malicious_pickle_in_mlflow_is_never_executed_without_a_grant(
    way: str, grant: str, trusts: str, mlflow: MLflowServer, there: str, start: Callable[..., Follower], tmp_path: Path
) -> None:
    flavours, file = WAYS_IN[way]
    canary = tmp_path / "canary"
    content = {file: pickle.dumps(Canary(canary)).hex()}
    version = mlflow.register_files(name=there, description=description(flavours), content=content)
    mlflow.set_alias(name=there, alias="champion", version=version)
    server = start(f"mlflow:{there}@champion", source={"grant": grant}, trust_grants=trusts)
    until(has_warned(server))
    with Client(server.process.target) as client:
        with pytest.raises((PermissionDenied, InvalidArgument)):
            client.registry.import_model("other", f"mlflow:{there}@champion", grant=grant)
        with pytest.raises(NotFound):
            client.registry.get("other")
    assert not canary.exists()


def test_a_pickle_predicts_with_a_grant_which_is_recorded(mlflow: MLflowServer, there: str, start: Callable[..., Follower]) -> None:
    champion(mlflow, there, 8, format="cloudpickle")
    server = start(f"mlflow:{there}@champion", source={"grant": "trained by ourselves"}, trust_grants="true")
    until(lambda: server.predicted() == 8)
    with Client(server.process.target) as client:
        version = client.registry.version("wine", "production")
    assert (version.format, version.grant) == ("cloudpickle", "trained by ourselves")


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", ""])
def test_a_description_that_names_a_file_elsewhere_is_refused(
    path: str, mlflow: MLflowServer, there: str, start: Callable[..., Follower]
) -> None:
    flavours = {"sklearn": {"pickled_model": path, "serialization_format": "skops"}}
    version = mlflow.register_files(name=there, description=description(flavours), content={})
    mlflow.set_alias(name=there, alias="champion", version=version)
    server = start(f"mlflow:{there}@champion")
    until(has_warned(server))
    assert "none of its folder" in server.log(NOT_AVAILABLE)[0]["why"]


def test_a_model_is_imported_by_its_address(mlflow: MLflowServer, there: str, tmp_path: Path) -> None:
    """By version, alias and stage; what is no address, or not there, is refused."""
    version = mlflow.train(name=there, value=9)
    mlflow.set_alias(name=there, alias="champion", version=version)
    mlflow.set_stage(name=there, version=version, stage="Staging")
    with (
        ServerProcess(data_dir=tmp_path, expected_models="wine", mlflow_url=mlflow.url) as process,
        Client(process.target) as client,
    ):
        for uri in (f"mlflow:{there}/{version}", f"mlflow:{there}@champion", f"mlflow:{there}/Staging"):
            imported = client.registry.import_model("wine", uri)
            assert imported.source == f"mlflow:{there}/{version}"
            assert client.predict(imported.reference, {"x": [1.0]})["prediction"].to_pylist() == [9]
        for uri, error in {
            f"mlflow:{there}": InvalidArgument,
            f"mlflow:{there}@nobody": NotFound,
            f"mlflow:{there}/77": NotFound,
        }.items():
            with pytest.raises(error):
                client.registry.import_model("wine", uri)
