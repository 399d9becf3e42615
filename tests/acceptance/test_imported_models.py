"""Models that were made elsewhere, on a server as a user would start it: they come in by every way, predict by every way, and nothing that
a stranger wrote is run on any of them."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from imported_models import IRIS, SPECIES, Canary, as_onnx, as_skops, classifier
from serving import EXAMPLES, ServerProcess
from sklearn.ensemble import RandomForestClassifier

from modelwire import AsyncClient, Client, InvalidArgument, PermissionDenied

ROWS = IRIS.iloc[::10].reset_index(drop=True)
FOREST = RandomForestClassifier(20, random_state=0).fit(IRIS, SPECIES)
LINEAR = classifier()
FILES = {"skops": as_skops(FOREST), "onnx": as_onnx(FOREST)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    target = f"{EXAMPLES / 'diabetes.py'}:runner"
    with ServerProcess(target, data_dir=tmp_path_factory.mktemp("data"), workers=2, max_import_bytes="4MiB") as server:
        yield server


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that reads what its callers have reasons for."""
    target = f"{EXAMPLES / 'diabetes.py'}:runner"
    with ServerProcess(target, data_dir=tmp_path_factory.mktemp("trusting"), trust_grants="true") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "canary")


def rest(server: ServerProcess, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, Any, dict[str, str]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}{path}", content, named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read()), dict(refusal.headers)


def command(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [str(Path(sys.executable).parent / "modelwire"), *arguments, f"--target={server.target}"]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", FILES)
def test_an_imported_model_predicts_by_every_way(server: ServerProcess, client: Client, kind: str) -> None:
    name = f"forest-{kind}"
    version = client.registry.import_model(name, FILES[kind], features=list(IRIS.columns), alias="production", target="species")
    assert (version.reference, version.format, version.source, version.aliases) == (f"{name}/1", kind, "upload", ("production",))
    expected = FOREST.predict(ROWS).tolist()

    def check(found: Any) -> None:
        table = found if isinstance(found, pa.Table) else pa.Table.from_pandas(found, preserve_index=False)
        assert table["prediction"].to_pylist() == expected
        assert np.allclose(table["confidence"], FOREST.predict_proba(ROWS).max(axis=1), atol=1e-5)

    # At once, by each of its names, with rows as matrix and as table.
    for reference in (name, f"{name}@production", f"{name}/1", version.artifact_id):
        for _ in range(3):
            check(client.predict(reference, ROWS))
    check(client.predict(name, ROWS.assign(more="text")[["more", *ROWS.columns[::-1]]]))
    # On a stream.
    many = list(client.predict_many(name, [ROWS.iloc[[place]] for place in range(len(ROWS))]))
    check(pa.Table.from_pandas(type(ROWS)(np.concatenate([one.to_numpy() for one in many]), columns=many[0].columns)))
    # As a job, in a process of its own.
    check(client.submit_prediction(name, ROWS).wait().frame())
    # Over REST, as JSON.
    future = {"columns": list(ROWS.columns), "data": ROWS.to_numpy().tolist()}
    status, answer, _ = rest(server, "/api/v1/ml/$predict-now", {"model": name, "future": future})
    assert (status, answer["model_version"]) == (200, f"{name}/1")
    place = answer["predictions"]["columns"].index("prediction")
    assert [row[place] for row in answer["predictions"]["data"]] == expected
    # By the Open Inference Protocol.
    inputs = [{"name": column, "datatype": "FP64", "shape": [len(ROWS)], "data": ROWS[column].tolist()} for column in ROWS]
    status, answer, _ = rest(server, f"/v2/models/{name}/infer", {"inputs": inputs})
    assert status == 200
    assert next(one["data"] for one in answer["outputs"] if one["name"] == "prediction") == expected


def test_a_missing_column_is_named_by_every_way(server: ServerProcess, client: Client) -> None:
    client.registry.import_model("linear", as_skops(LINEAR), alias="production")
    rows = ROWS.drop(columns=["petal_width"])
    with pytest.raises(InvalidArgument, match="petal_width"):
        client.predict("linear", rows)
    with pytest.raises(InvalidArgument, match="petal_width"):
        client.submit_prediction("linear", rows)
    with pytest.raises(InvalidArgument, match="petal_width"):
        list(client.predict_many("linear", [rows]))
    future = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}
    status, problem, _ = rest(server, "/api/v1/ml/$predict-now", {"model": "linear", "future": future})
    assert status == 422
    assert "petal_width" in json.dumps(problem)


def test_it_comes_in_over_rest(server: ServerProcess, client: Client) -> None:
    path = "/api/v1/models/$import?name=rest&alias=staging&description=by+hand&metrics=%7B%22accuracy%22%3A0.9%7D&tags=a&tags=b"
    status, version, headers = rest(server, path, FILES["skops"], content_type="application/octet-stream")
    assert (status, version["name"], version["version"], version["format"]) == (201, "rest", 1, "skops")
    assert (version["metrics"], version["tags"], version["aliases"]) == ({"accuracy": 0.9}, ["a", "b"], ["staging"])
    assert headers["location"].endswith("/api/v1/models/rest/versions/1")
    status, problem, _ = rest(
        server, "/api/v1/models/$import", {"name": "rest", "uri": "s3://nobody/knows"}, content_type="application/json"
    )
    assert (status, "uri" in json.dumps(problem)) == (422, True)
    assert client.registry.version("rest", 1).description == "by hand"


def test_it_comes_in_from_the_command_line(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(FILES["onnx"])
    features = [f"--feature={column}" for column in IRIS]
    done = command(server, "models", "import", "shell", str(tmp_path / "model.onnx"), "--alias=production", *features)
    assert (done.returncode, done.stdout) == (0, "shell/1\n")
    shown = json.loads(command(server, "models", "show", "shell/1", "--json").stdout)
    assert (shown["format"], shown["source"], shown["features"]) == ("onnx", "upload", list(IRIS.columns))
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    predicted = command(server, "predict", "shell", str(tmp_path / "rows.csv"), f"--out={tmp_path / 'out.csv'}")
    assert predicted.returncode == 0, predicted.stderr
    missing = command(server, "models", "import", "shell", str(tmp_path / "none.onnx"))
    assert (missing.returncode != 0, "there is no file" in missing.stderr) == (True, True)


def test_it_comes_in_from_the_asynchronous_client(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(FILES["skops"])

    async def main() -> None:
        async with AsyncClient(server.target) as client:
            version = await client.registry.import_model("async", tmp_path / "model.skops", alias="production")
            assert (await client.predict(version.reference, ROWS))["prediction"].tolist() == FOREST.predict(ROWS).tolist()
            with pytest.raises(TypeError, match="either a file or a uri"):
                await client.registry.import_model("async")

    asyncio.run(main())


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    with ServerProcess(f"{EXAMPLES / 'diabetes.py'}:runner", data_dir=tmp_path) as server:
        with Client(server.target) as client:
            client.registry.import_model("iris", FILES["skops"], alias="production")
        server.kill()
        server.start()
        with Client(server.target) as client:
            assert client.predict("iris", ROWS)["prediction"].tolist() == FOREST.predict(ROWS).tolist()


def test_a_malicious_file_is_not_run_by_any_way_in(server: ServerProcess, client: Client, canary: Canary, tmp_path: Path) -> None:
    future = {"columns": list(ROWS.columns), "data": ROWS.to_numpy().tolist()}
    for number, (name, content) in enumerate(canary.disguises().items()):
        # Imported: from Python, with and without a grant, over REST, from the command line.
        for grant in ("", "trust me"):
            with pytest.raises((PermissionDenied, InvalidArgument)):
                client.registry.import_model("evil", content, grant=grant)
            query = f"?name=evil&grant={grant.replace(' ', '+')}"
            status, _, _ = rest(server, f"/api/v1/models/$import{query}", content, content_type="application/octet-stream")
            assert status in (403, 422), name
        # Uploaded as what models are kept as, over gRPC and REST, and then used as one.
        kind = ("application/x-pickle", "application/x-skops", "application/x-onnx")[number % 3]
        uploaded = client.artifacts.upload(content, type="ml_training", content_type=kind, metadata={"status": "success"})
        path = "/api/v1/artifacts/$upload?type=ml_training"
        status, sent, _ = rest(server, path, content, content_type=kind)
        assert status == 201, sent
        for artifact_id in (uploaded.id, sent["id"]):
            for use in (
                lambda: client.predict(artifact_id, ROWS),  # noqa: B023 - called at once
                lambda: client.submit_prediction(artifact_id, ROWS),  # noqa: B023
                lambda: client.registry.register("evil", artifact_id),  # noqa: B023
                lambda: list(client.predict_many(artifact_id, [ROWS])),  # noqa: B023
            ):
                with pytest.raises(PermissionDenied):
                    use()
            status, _, _ = rest(server, "/api/v1/ml/$predict-now", {"model": artifact_id, "future": future})
            assert status == 403
            status, _, _ = rest(server, f"/v2/models/{artifact_id}/infer", {"inputs": []})
            assert status >= 400
            status, _, _ = rest(server, "/api/v1/models/evil/versions", {"artifact_id": artifact_id})
            assert status == 403
        assert not canary.is_dead, name
    path = tmp_path / "model.skops"
    path.write_bytes(canary.pickled())
    done = command(server, "models", "import", "evil", str(path), "--format=skops")
    assert done.returncode != 0
    assert not canary.is_dead
    assert "evil" not in [model.name for model in client.registry.list()]


def test_an_artifact_that_is_created_is_no_model(client: Client, canary: Canary) -> None:
    made = client.artifacts.create("ml_training", {"py/reduce": [{"py/type": "os.system"}, {"py/tuple": [f"touch {canary.path}"]}]})
    with pytest.raises(PermissionDenied):
        client.predict(made.id, ROWS)
    assert not canary.is_dead


def test_with_a_grant_on_a_server_that_allows_it_the_same_file_is_read(trusting: ServerProcess, canary: Canary) -> None:
    """Otherwise the tests of the canary would prove nothing."""
    with Client(trusting.target) as client:
        with pytest.raises(PermissionDenied, match="grant"):
            client.registry.import_model("ours", canary.predicting())
        assert not canary.is_dead
        version = client.registry.import_model("ours", canary.predicting(), grant="ticket 7", alias="production")
        assert canary.is_dead
        assert (version.format, version.grant) == ("cloudpickle", "ticket 7")
        assert client.predict("ours", ROWS)["prediction"].tolist() == [0.0] * len(ROWS)
        assert client.submit_prediction("ours", ROWS).wait().frame()["prediction"].to_pylist() == [0.0] * len(ROWS)
        events = client.registry.watch("ours")
        assert next(iter(events)).grant == "ticket 7"


def test_an_upload_over_the_limit_is_cut_off(client: Client) -> None:
    with pytest.raises(Exception, match="most that is allowed for models") as refusal:
        client.registry.import_model("large", bytes(5 << 20))
    assert refusal.value.code == "RESOURCE_EXHAUSTED"  # type: ignore[attr-defined]
