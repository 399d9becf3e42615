"""Models that live in an MLflow registry, with a real MLflow server: from there they come to serve here, without a restart."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from followers import (
    FEATURES,
    HARMFUL,
    LOADED,
    NOT_AVAILABLE,
    OUTSIDE,
    RELOAD_RECEIVED,
    Follower,
    champion,
    commands_of,
    empty_registry,
    linear_graph,
    register_harm,
    until,
)
from free_ports import free_port
from mlflow_server import PYTHON, MLflowServer, is_installed, mlflow_server
from serving import EXAMPLES, ServerProcess

from modelwire import Client, InvalidArgument, NotFound, PermissionDenied, Unavailable

# MLflow takes long to start on a busy machine.
pytestmark = pytest.mark.timeout(300)

# The models that tests have for themselves on the server that they share, by the way in which it follows them.
DOCS, EXAMPLE = EXAMPLES.parent / "docs", EXAMPLES / "mlflow_reload"
ON_REQUEST = ("early", "d2", "d5", "d6", "d7", "d8", "d12", "d18", "graph", *OUTSIDE)
ALWAYS = ("Cases", "d11", "d19", "scenario", "rolled-back", "gated")
WARNING = ("warning", NOT_AVAILABLE)


@pytest.fixture(scope="module")
def mlflow() -> Iterator[MLflowServer]:
    if not is_installed() and "CI" not in os.environ:
        pytest.skip("MLflow is not installed: make mlflow")
    with mlflow_server() as server:
        yield server


@pytest.fixture(scope="module")
def canaries(mlflow: MLflowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which something is once content was run of somebody who means harm."""
    folder = tmp_path_factory.mktemp("canaries")
    register_harm(mlflow, folder)
    return folder


@pytest.fixture(scope="module")
def server(mlflow: MLflowServer, canaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for the tests that do it no harm. It reads no pickles, whatever the grant."""
    champion(mlflow, "early", 7)
    sources = [source(name, watch="on-request") for name in ON_REQUEST]
    sources += [source(name) for name in ALWAYS]
    sources += [source("staged", uri="mlflow:staged/Production")]
    sources += [source(name, watch="on-request") for name in HARMFUL]
    sources += [source(f"{name}-granted", uri=f"mlflow:{name}@champion", watch="on-request", grant="ours") for name in HARMFUL]
    settings = {"mlflow_url": mlflow.url, "sources": json.dumps(sources), "log_format": "json"}
    with ServerProcess(data_dir=tmp_path_factory.mktemp("data"), **settings) as process:
        yield process


@pytest.fixture(scope="module")
def followed(server: ServerProcess) -> Callable[[str], Follower]:
    """A model that the server follows, by its name there and here."""
    return lambda name: Follower(server, name)


@pytest.fixture
def start(mlflow: MLflowServer, tmp_path: Path) -> Iterator[Callable[..., Follower]]:
    """Starts a server of its own for a test, which follows one model."""
    with ExitStack() as stack:

        def started(name: str, *, watch: str = "on-request", **settings: Any) -> Follower:
            sources = [source(name, watch=watch)]
            chosen = {"mlflow_url": mlflow.url, "sources": json.dumps(sources), "log_format": "json", **settings}
            data_dir = Path(chosen.pop("data_dir", tmp_path / "data"))
            return Follower(stack.enter_context(ServerProcess(data_dir=data_dir, **chosen)), name)

        yield started


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Ends a process, however the test does."""
    with process:
        try:
            yield
        finally:
            process.terminate()


def source(name: str, *, uri: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": uri or f"mlflow:{name}@champion", "every": 0.5, **more}


def test_train_in_mlflow_set_the_alias_and_it_serves_within_seconds_without_a_restart(
    mlflow: MLflowServer, followed: Callable[[str], Follower]
) -> None:
    model = followed("scenario")
    assert model.predicted() is None
    for value in (1, 2):
        version = mlflow.train(name="scenario", value=value)
        mlflow.set_alias(name="scenario", alias="champion", version=version)
        set_at = time.monotonic()
        until(model.predicts(value))
        print(f"version {version} serves {time.monotonic() - set_at:.1f} s after it was given the alias")
    with Client(model.process.target) as client:
        newest = client.registry.version("scenario", "production")
    assert (newest.reference, newest.source, newest.format) == ("scenario/2", f"mlflow:scenario/{version}", "skops")
    assert (newest.metrics, newest.features) == ({"rmse": 2.0}, ("x",))
    assert (newest.algorithm, newest.framework.split()[0]) == ("DummyRegressor", "scikit-learn")


def test_api_starts_without_any_model(start: Callable[..., Follower]) -> None:
    """The process is healthy, and not ready for the model."""
    model = start("nowhere")
    assert model.rest("/livez")[0] == 200
    until(model.has_warned())
    assert model.rest("/readyz")[0] == 503
    assert model.process.process.is_running()


def test_warning_in_the_log_when_the_model_is_missing(followed: Callable[[str], Follower]) -> None:
    model = followed("d2")
    until(model.has_warned())
    (warning,) = model.log(NOT_AVAILABLE)
    assert (warning["level"], warning["model"], warning["source"]) == ("warning", "d2", "mlflow:d2@champion")
    assert "not found" in warning["why"]


def test_start_up_tries_to_load_once(followed: Callable[[str], Follower]) -> None:
    """The registry has a model: predictions work without a reload."""
    model = followed("early")
    until(model.predicts(7))
    until(lambda: model.log(LOADED))
    assert model.said() == [("info", LOADED)]
    assert model.rest("/health/ready/?model=early")[0] == 200


def test_get_reload_asks_for_a_reload_and_answers_at_once(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d5")
    for value in (1, 2):
        before = model.predicted()
        champion(mlflow, "d5", value)
        assert model.predicted() == before
        begin = time.monotonic()
        model.reload()
        assert time.monotonic() - begin < 5
        until(model.predicts(value))


def test_no_registry_traffic_unless_a_reload_was_asked(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d6")
    until(model.has_warned())
    (asked,) = mlflow.calls("d6")
    assert "alias" in asked
    champion(mlflow, "d6", 1)
    before = mlflow.calls("d6")
    for _ in range(20):
        assert model.predicted() is None
        time.sleep(0.1)
    assert mlflow.calls("d6") == before
    model.reload()
    until(model.predicts(1))
    assert len(mlflow.calls("d6")) > len(before)


def test_after_a_reload_request_without_model_it_retries_until_one_loads(
    mlflow: MLflowServer, followed: Callable[[str], Follower]
) -> None:
    """Every half second here; every 10 seconds unless a source says otherwise."""
    model = followed("d7")
    until(model.has_warned())
    time.sleep(1.5)
    assert len(model.log(NOT_AVAILABLE)) == 1, "nobody asked"
    model.reload()
    until(model.has_warned(4))
    champion(mlflow, "d7", 3)
    until(model.predicts(3))


def test_after_success_polling_stops(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d8")
    model.reload()
    until(model.has_warned(3))
    champion(mlflow, "d8", 3)
    until(lambda: model.log(LOADED))
    calls, said = mlflow.calls("d8"), model.said()
    time.sleep(2)
    assert (mlflow.calls("d8"), model.said()) == (calls, said)


def test_only_the_model_in_stage_production_is_taken(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("staged")
    versions = [mlflow.train(name="staged", value=value) for value in (1, 2)]
    mlflow.set_stage(name="staged", version=versions[1], stage="Staging")
    until(lambda: any("stage Production" in line["why"] for line in model.log(NOT_AVAILABLE)))
    mlflow.set_stage(name="staged", version=versions[0], stage="Production")
    until(model.predicts(1))
    mlflow.set_stage(name="staged", version=versions[1], stage="Production")
    until(model.predicts(2))


def test_loader_is_set_up_with_server_address_model_name_and_stage(mlflow: MLflowServer, tmp_path: Path) -> None:
    """As options: d16, it also runs without Docker, by a plain command."""
    mlflow.set_stage(name="d10", version=mlflow.train(name="d10", value=4), stage="Production")
    options = ("--source", "wine=mlflow:d10/Production", "--mlflow", mlflow.url, "--watch", "on-request")
    with ServerProcess(*options, data_dir=tmp_path, log_format="json") as process:
        until(Follower(process, "wine").predicts(4))


def test_predict_uses_the_loaded_model_and_before_any_says_503(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d11")
    status, problem = model.rest("/predict", {"model_id": "d11", "features": {"x": 1.0}})
    assert (status, problem["status"]) == (503, 503)
    with Client(model.process.target) as client:
        with pytest.raises(Exception, match="d11") as refused:
            client.predict("d11", {"x": [1.0]})
        assert getattr(refused.value, "reason", "") == "MODEL_NOT_READY"
        champion(mlflow, "d11", 5)
        until(model.predicts(5))
        assert client.predict("d11", {"x": [1.0, 2.0]})["prediction"].to_pylist() == [5, 5]


def test_old_model_keeps_serving_while_a_new_one_loads(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d12")
    champion(mlflow, "d12", 1)
    model.reload()
    until(model.predicts(1))
    champion(mlflow, "d12", 2)
    model.reload()
    seen: list[float | None] = []
    until(lambda: seen.append(model.predicted()) or seen[-1] == 2)
    assert seen == sorted(seen, key=str), "once the new one has answered, the old one does not"
    assert set(seen) <= {1, 2}


def test_shutdown_cancels_the_watcher(start: Callable[..., Follower]) -> None:
    """Also d4: the watcher ends with the server, and so does its client of MLflow."""
    model = start("nowhere")
    model.reload()
    until(model.has_warned(2))
    children = model.process.process.children(recursive=True)
    clients = [child for child in children if "mlflow_program" in " ".join(child.cmdline())]
    assert clients
    assert model.process.stop() == 0
    assert not any(client.is_running() for client in clients)
    said = model.process.output()
    assert not any(words in said for words in ("Task was destroyed", "Traceback", "Unknown child process"))


def test_training_starts_when_data_arrive_and_uploads_the_model(
    mlflow: MLflowServer, followed: Callable[[str], Follower], tmp_path: Path
) -> None:
    """The training program of the example waits for files; what it makes of one is a new version in the registry, and serves."""
    model, incoming = followed("Cases"), tmp_path / "incoming"
    incoming.mkdir()
    options = ("--model", "Cases", "--target", "disease_cases", "--alias", "champion")
    with mlflow.program(EXAMPLE / "training.py", incoming, *options) as training:
        for version in (1, 2):
            shutil.copy(EXAMPLES / "monthly_cases" / "seen.csv", tmp_path / "data")
            (tmp_path / "data").replace(incoming / f"{version}.csv")
            said = next(line for line in training.stdout if "is trained" in line)
            assert said == f"Cases/{version} is trained on {version}.csv\n"
            until(lambda version=version: [line["model"] for line in model.log(LOADED)][-1:] == [f"Cases/{version}"])
    status, answer = model.rest("/predict", {"model_id": "Cases", "features": {"rainfall": 120.0, "mean_temperature": 24.5}})
    assert (status, answer["model_version"]) == (200, "2")
    assert 0 < answer["prediction"] < 1000


def test_runs_without_docker_by_the_plain_commands_of_the_page(mlflow: MLflowServer, tmp_path: Path) -> None:
    """All but the one that starts MLflow, which runs already, on another port."""
    ports = {"5001": mlflow.url.rpartition(":")[2], "5002": str(free_port())}
    registry, serve, export, train, predict = (
        re.sub("500[12]", lambda found: ports[found[0]], line) for line in commands_of(DOCS / "mlflow.md", "## Start", "## Which")
    )
    assert registry.startswith("mlflow server")
    where: Any = {"cwd": EXAMPLES.parent, "env": {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}}

    def said(command: str) -> str:
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, **where)
        return done.stdout + done.stderr

    with ended(subprocess.Popen(["bash", "-c", f"exec env MODELWIRE_DATA_DIR={tmp_path} {serve} --grpc-port 0"], **where)):
        assert "is trained on seen.csv" in said(f"{export}\n{train.replace('python', str(PYTHON), 1)}")
        until(lambda: '"prediction":' in said(predict))


def test_runs_on_chosen_ports_under_a_supervisor_with_a_timeout_of_120_seconds(
    mlflow: MLflowServer, followed: Callable[[str], Follower], tmp_path: Path
) -> None:
    until(followed("early").predicts(7))
    settings = {"workers": 2, "worker_timeout": 120, "default_deadline": 120, "mlflow_url": mlflow.url, "log_format": "json"}
    with ServerProcess(data_dir=tmp_path, sources="early=mlflow:early@champion", **settings) as process:
        until(Follower(process, "early").predicts(7))


def test_log_lines_and_their_order(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    """A warning at the start; the request; warnings until a model is loaded; success."""
    model = followed("d18")
    until(model.has_warned())
    model.reload()
    until(model.has_warned(4))
    champion(mlflow, "d18", 1)
    until(lambda: model.log(LOADED))
    first, asked, *others, success = model.said()
    assert (first, asked, success) == (WARNING, ("info", RELOAD_RECEIVED), ("info", LOADED))
    assert len(others) >= 3
    assert set(others) == {WARNING}


def test_watch_mode_picks_a_new_production_version_up_unasked(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("d19")
    for value in (1, 2):
        champion(mlflow, "d19", value)
        until(model.predicts(value))
    mlflow.set_alias(name="d19", alias="champion", version="1")
    until(model.predicts(1))
    assert not model.log(RELOAD_RECEIVED)
    with Client(model.process.target) as client:
        sources = [version.source for version in client.registry.versions("d19")]
    assert sources == ["mlflow:d19/2", "mlflow:d19/1"], "what was imported once is not imported again"


def test_reload_reaches_all_workers_and_servers(
    mlflow: MLflowServer, start: Callable[..., Follower], postgres_url: str, tmp_path: Path
) -> None:
    """Each server has two workers, and one process of all asks MLflow; when its server is killed, another one does."""
    champion(mlflow, "d21", 1)
    shared = {"workers": 2, "database_url": postgres_url, "blobs_url": str(tmp_path / "blobs")}
    first = start("d21", data_dir=tmp_path / "a", **shared)
    until(first.predicts(1))
    second = start("d21", data_dir=tmp_path / "b", **shared)
    until(second.predicts(1))
    champion(mlflow, "d21", 2)
    asked = len(mlflow.calls("d21"))
    second.reload()
    until(lambda: len(first.log(LOADED)) == 2)
    for model in (first, second):
        # Each call has a connection of its own, which the kernel gives to one worker or the other.
        assert {model.predicted() for _ in range(20)} == {2}
    assert sum("registered-models/alias" in call for call in mlflow.calls("d21")[asked:]) == 1
    assert not second.log(LOADED)
    first.process.kill()
    champion(mlflow, "d21", 3)
    second.reload()
    until(second.predicts(3))


def test_a_registry_that_does_not_answer_at_the_start_is_asked_again(start: Callable[..., Follower]) -> None:
    """Until it does: what it says then is that there is no such model."""
    port = free_port()
    model = start("nowhere", mlflow_url=f"http://127.0.0.1:{port}")
    until(model.has_warned())
    assert "MLflow does not answer" in model.log(NOT_AVAILABLE)[0]["why"]
    assert model.rest("/livez")[0] == 200
    with Client(model.process.target) as client, pytest.raises(Unavailable) as refused:
        client.registry.import_model("other", uri="mlflow:nowhere@champion")
    assert refused.value.reason == "SOURCE_UNAVAILABLE"
    with empty_registry(port):
        until(lambda: "not found" in model.log(NOT_AVAILABLE)[-1]["why"])


def test_a_rollback_here_holds_until_the_registry_has_another_version(
    mlflow: MLflowServer, followed: Callable[[str], Follower]
) -> None:
    model = followed("rolled-back")
    for value in (1, 2):
        champion(mlflow, "rolled-back", value)
        until(model.predicts(value))
    with Client(model.process.target) as client:
        client.registry.rollback("rolled-back")
    looked = len(mlflow.calls("rolled-back"))
    until(lambda: len(mlflow.calls("rolled-back")) > looked + 3)
    assert model.predicted() == 1
    champion(mlflow, "rolled-back", 3)
    until(model.predicts(3))


def test_a_version_that_breaks_a_rule_of_the_gate_does_not_serve(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    model = followed("gated")
    champion(mlflow, "gated", 1)
    until(model.predicts(1))
    with Client(model.process.target) as client:
        client.registry.update("gated", gate={"metrics": {"rmse": {"maximum": 1.5}}})
    champion(mlflow, "gated", 2)
    until(lambda: any("rmse" in line["why"] for line in model.log(NOT_AVAILABLE)))
    assert model.predicted() == 1


def test_a_model_of_onnx_predicts(mlflow: MLflowServer, followed: Callable[[str], Follower], tmp_path: Path) -> None:
    """Its weights are in a file of their own there."""
    file = tmp_path / "model.onnx"
    file.write_bytes(linear_graph())
    mlflow.set_alias(name="graph", alias="champion", version=mlflow.register_onnx(name="graph", file=str(file)))
    model = followed("graph")
    model.reload()
    until(lambda: model.log(LOADED))
    with Client(model.process.target) as client:
        version = client.registry.version("graph", "production")
        assert version.format == "onnx"
        predicted = client.predict("graph", {f"x{number}": [1.0, 2.0] for number in range(FEATURES)})
    assert [round(value) for value in predicted.column(predicted.column_names[-1]).to_pylist()] == [FEATURES, 2 * FEATURES]


@pytest.mark.parametrize("name", HARMFUL)
def test_a_malicious_pickle_in_mlflow_is_never_executed_without_a_grant(
    name: str, followed: Callable[[str], Follower], canaries: Path
) -> None:
    """Neither without nor with a grant, which this server does not allow; neither followed nor imported by its address."""
    for model in (followed(name), followed(f"{name}-granted")):
        until(model.has_warned())
        assert not model.log(LOADED)
    with Client(followed(name).process.target) as client:
        for grant in ("", "ours"):
            with pytest.raises((PermissionDenied, InvalidArgument)):
                client.registry.import_model("other", uri=f"mlflow:{name}@champion", grant=grant)
        with pytest.raises(NotFound):
            client.registry.get("other")
    assert not list(canaries.iterdir())


def test_where_grants_are_allowed_a_pickle_is_executed_with_one_only(mlflow: MLflowServer, canaries: Path, tmp_path: Path) -> None:
    """The grant is recorded with the version."""
    champion(mlflow, "pickled", 8, format="cloudpickle")
    version = mlflow.register_function(name="function", value=9)
    mlflow.set_alias(name="function", alias="champion", version=version)
    sources = [source(name, grant="ours") for name in ("pickled", "function")] + [source(name) for name in HARMFUL]
    settings = {"mlflow_url": mlflow.url, "sources": json.dumps(sources), "trust_grants": "true", "log_format": "json"}
    with ServerProcess(data_dir=tmp_path, **settings) as process:
        until(Follower(process, "pickled").predicts(8))
        until(Follower(process, "function").predicts(9))
        for name in HARMFUL:
            until(Follower(process, name).has_warned())
        with Client(process.target) as client:
            granted = client.registry.version("pickled", "production")
    assert (granted.format, granted.grant) == ("cloudpickle", "ours")
    assert not list(canaries.iterdir())


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_description_that_names_a_file_elsewhere_is_refused(name: str, followed: Callable[[str], Follower]) -> None:
    model = followed(name)
    until(model.has_warned())
    assert "none of its folder" in model.log(NOT_AVAILABLE)[0]["why"]


def test_a_model_is_imported_by_its_address(mlflow: MLflowServer, followed: Callable[[str], Follower]) -> None:
    """By version, alias and stage; what is no address, or not there, is refused."""
    version = mlflow.train(name="addressed", value=9)
    mlflow.set_alias(name="addressed", alias="champion", version=version)
    mlflow.set_stage(name="addressed", version=version, stage="Staging")
    with Client(followed("early").process.target) as client:
        for behind in (f"/{version}", "@champion", "/Staging"):
            imported = client.registry.import_model("imported", uri=f"mlflow:addressed{behind}")
            assert imported.source == f"mlflow:addressed/{version}"
            assert client.predict(imported.reference, {"x": [1.0]})["prediction"].to_pylist() == [9]
        for behind, error in {"": InvalidArgument, "@nobody": NotFound, "/77": NotFound}.items():
            with pytest.raises(error):
                client.registry.import_model("imported", uri=f"mlflow:addressed{behind}")
