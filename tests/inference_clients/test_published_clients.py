"""NVIDIA's clients of the Open Inference Protocol, as they are published, against a server of ours.

They need versions of libraries that are not ours, so they live in an environment of their own; nothing of ours depends on them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from serving import ServerProcess

from modelwire import Client

PACKAGE = "tritonclient[grpc,http]>=2.60,<3"
HERE = Path(__file__).parent

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the clients."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
    done = subprocess.run(install, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHON", "VIRTUAL_"))}


@dataclass
class Trained:
    """A server with two models, and what our own Predict answers to the frame that the clients send."""

    grpc: str
    http: str
    plants: str
    numbers: str
    columns: dict[str, list[Any]]
    expected: pa.Table
    expected_numbers: pa.Table
    expected_floats: pa.Table

    def address(self, kind: str) -> str:
        return self.grpc if kind.startswith("grpc") else self.http


def columns_of(rows: int) -> dict[str, list[Any]]:
    random = np.random.default_rng(5)
    kinds = random.integers(0, 2, rows)
    return {
        "height": (random.normal(3, 1, rows) + 2 * kinds).tolist(),
        "width": (random.normal(1, 0.5, rows) + kinds).tolist(),
        "leaves": random.integers(0, 9, rows).tolist(),
        "soil": random.choice(["sand", "løss", "clay"], rows).tolist(),
        "kind": np.array(["moss", "fern"])[kinds].tolist(),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    targets = [f"{HERE / 'runners' / 'plants.py'}:{name}" for name in ("plants", "numbers")]
    with ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data")) as server, Client(server.target) as client:
        data = pa.table(columns_of(300))
        models = {}
        for runner, frame in (("plants", data), ("numbers", data.drop_columns("soil"))):
            config = client.configs.create(runner, {}, runner=runner)
            models[runner] = client.train(config, frame).wait()
        columns = {name: values for name, values in columns_of(50).items() if name != "kind"}
        matrix = pa.table({name: pa.array(columns[name], pa.float64()) for name in ("height", "width", "leaves")})
        floats = matrix.cast(pa.schema([(name, pa.float32()) for name in matrix.column_names]))
        yield Trained(
            server.target,
            f"127.0.0.1:{server.http_port}",
            models["plants"].id,
            models["numbers"].id,
            columns,
            *(
                pa.table(model.predict(frame))
                for model, frame in (
                    (models["plants"], pa.table(columns)),
                    (models["numbers"], matrix),
                    (models["numbers"], floats),
                )
            ),
        )


@pytest.fixture(scope="module", params=["grpc", "http", "grpc.aio", "http.aio"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def told(kind: str, python: Path, trained: Trained) -> dict[str, Any]:
    """What one of the clients was told."""
    command = [python, HERE / "calls.py", kind, trained.address(kind), trained.plants, trained.numbers]
    given = json.dumps(trained.columns)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def printed(table: pa.Table, *names: str) -> dict[str, Any]:
    """The columns as the program prints arrays."""
    return {name: _printed(table.column(name)) for name in names or table.column_names}


def _printed(column: pa.ChunkedArray) -> dict[str, Any]:
    array = column.to_numpy()
    values = column.to_pylist() if array.dtype == object and column.type != pa.bool_() else array.tobytes().hex()
    return {"dtype": str(array.dtype), "shape": [len(array)], "values": values}


def test_the_server_is_known(told: dict[str, Any]) -> None:
    live, ready, metadata = told["server"]
    assert (live, ready, metadata["name"]) == (True, True, "modelwire")


def test_the_model_is_described(told: dict[str, Any], trained: Trained) -> None:
    metadata = told["metadata"]
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == (trained.plants, ["1"], "modelwire/plants")
    inputs = {one["name"]: (one["datatype"], [int(length) for length in one["shape"]]) for one in metadata["inputs"]}
    assert inputs == {"height": ("FP64", [-1]), "width": ("FP64", [-1]), "leaves": ("INT64", [-1]), "soil": ("BYTES", [-1])}
    outputs = {one["name"]: one["datatype"] for one in metadata["outputs"]}
    assert outputs == {"chance": "FP64", "sure": "BOOL", "kind": "BYTES", "leaves": "INT64"}
    config = told["config"].get("config", told["config"])
    assert [one["data_type"] for one in config["input"]] == ["TYPE_FP64", "TYPE_FP64", "TYPE_INT64", "TYPE_STRING"]


def test_models_are_listed_dropped_and_loaded(told: dict[str, Any], trained: Trained) -> None:
    def states(index: Any) -> dict[str, tuple[str, str]]:
        listed = index["models"] if isinstance(index, dict) else index
        return {one["name"]: (one["version"], one["state"]) for one in listed}

    assert states(told["index"]) == dict.fromkeys((trained.plants, trained.numbers), ("1", "READY"))
    assert states(told["index without it"])[trained.plants] == ("1", "UNAVAILABLE")
    assert told["readiness"] == [True, True, False, True]


def test_predictions_are_those_of_our_own_predict_to_the_bit(told: dict[str, Any], trained: Trained) -> None:
    expected = printed(trained.expected)
    assert set(expected["kind"]["values"]) == {"moss", "fern"}
    ways = ("columns", "columns of shape [n, 1]", "as JSON", "gzip", "deflate", "callback")
    found = {way: told[way] for way in ways if way in told}
    assert found == dict.fromkeys(found, expected)
    assert told["two outputs"] == printed(trained.expected, "kind", "chance")
    assert told["matrix"] == printed(trained.expected_numbers)
    assert told["floats"] == printed(trained.expected_floats)


def test_streams_answer_in_order(told: dict[str, Any], trained: Trained, kind: str) -> None:
    assert ("stream" in told) == kind.startswith("grpc")
    if "stream" in told:
        first, wrong, last = told["stream"]
        assert wrong == "there is no model resnet50"
        assert [first, last] == [{"id": number, **printed(trained.expected)} for number in ("0", "2")]


def test_requests_are_counted(told: dict[str, Any]) -> None:
    (counted,) = told["statistics"]["model_stats"]
    assert int(counted["inference_count"]) == 50 * int(counted["execution_count"]) > 0
    assert int(counted["inference_stats"]["success"]["count"]) == int(counted["execution_count"])


def test_refusals_are_told(told: dict[str, Any], kind: str) -> None:
    codes = ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT", "StatusCode.UNIMPLEMENTED")
    not_found, wrong, not_here = codes if kind.startswith("grpc") else ("404", "400", "501")
    refusals = told["refusals"]
    assert refusals["unknown model"] == f"{not_found}: there is no model resnet50"
    assert "has no version '2', only 1" in refusals["unknown version"]
    assert (
        refusals["unknown output"]
        == f"{wrong}: outputs: there is no output 'size'; the predictions have: chance, sure, kind, leaves"
    )
    assert refusals["missing column"].startswith(f"{wrong}: ")
    assert "'width' is missing" in refusals["missing column"]
    assert refusals["shared memory"].startswith(f"{not_here}: this server shares no memory")
    assert refusals["traces"].startswith(f"{not_here}: ")
