"""Jobs that end well: what reaches the runner, and what comes back."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa
import pytest
from job_bench import Bench, load, write_json

from modelwire_server.artifacts.model import ARROW_STREAM, PICKLE
from modelwire_server.execution.interface import Completed, Made, Outcome
from modelwire_server.jobs.model import EventKind

SIGNATURE = {"inputs": [{"name": "x", "type": "int64", "nullable": False}], "outputs": [], "targets": []}


def completed(outcome: Outcome) -> Made:
    assert isinstance(outcome, Completed), outcome
    made = outcome.made
    content = made.path.read_bytes()
    assert made.blob.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert made.blob.size == len(content)
    return made


def facts(bench: Bench, **fields: Any) -> dict[str, Any]:
    return load(completed(bench.run(bench.training("facts", **fields))).path)


def test_a_model_is_kept_as_a_pickle_with_its_digest(bench: Bench) -> None:
    outcome = completed(bench.run(bench.training("return", config={"value": {"weights": [1, 2]}})))
    assert outcome.content_type == PICKLE
    assert outcome.metadata == {"model_type": "dict", "signature": SIGNATURE}
    assert load(outcome.path) == {"weights": [1, 2]}


def test_the_runner_gets_what_was_sent(bench: Bench, tmp_path: Path) -> None:
    geo = {"type": "FeatureCollection", "features": []}
    found = facts(
        bench,
        data=pa.table({"a": [1, 2], "b": ["x", "y"]}),
        geo=write_json(tmp_path / "geo.json", geo),
        run_info={"prediction_length": 3},
        timeout=50.0,
    )
    assert found["data"] == {"a": [1, 2], "b": ["x", "y"]}
    assert found["geo"] == geo
    assert found["run_info"]["prediction_length"] == 3
    assert found["job_id"] == found["environment"]
    assert 40 < found["remaining"] <= 50
    assert Path(found["folder"]).is_dir()


def test_a_job_has_a_process_and_a_session_of_its_own(bench: Bench) -> None:
    first, second = facts(bench), facts(bench)
    assert first["pid"] != second["pid"]
    assert first["pid"] == first["session"] != os.getsid(0)
    assert first["core"] == (0, 0)
    assert first["stdin"] == ""
    assert first["threads"] == "1"


def test_a_job_knows_neither_grpc_nor_sql(bench: Bench) -> None:
    assert facts(bench)["modules"] == []


def test_random_numbers_differ_from_job_to_job(bench: Bench) -> None:
    assert facts(bench)["numpy"] != facts(bench)["numpy"]


def test_stages_come_in_order(bench: Bench) -> None:
    bench.run(bench.training("return", config={"value": 1}))
    stages = [data["stage"] for data in bench.of_kind(EventKind.STAGE)]
    assert stages == ["starting", "loading", "training", "saving"]


def test_predictions_are_kept_as_an_arrow_stream_in_batches(bench: Bench) -> None:
    path, blob = bench.stored(cloudpickle.dumps("a model"))
    future = pa.table({"x": pa.array(range(500_000))})
    outcome = completed(bench.run(bench.predicting("rows", future, path, blob)))
    assert outcome.content_type == ARROW_STREAM
    assert outcome.metadata == {"rows": 500_000}
    with pa.ipc.open_stream(outcome.path.read_bytes()) as reader:
        batches = list(reader)
    table = pa.Table.from_batches(batches)
    assert table["sample_0"].to_pylist() == list(range(500_000))
    assert table["model"][0].as_py() == "a model"
    assert max(batch.nbytes for batch in batches) < 2 << 20
    assert bench.of_kind(EventKind.STAGE)[2] == {"stage": "predicting"}


def test_predictions_without_rows_are_predictions(bench: Bench) -> None:
    path, blob = bench.stored(cloudpickle.dumps(1))
    outcome = completed(bench.run(bench.predicting("rows", pa.table({"x": pa.array([], pa.int64())}), path, blob)))
    assert pa.ipc.open_stream(outcome.path.read_bytes()).read_all().num_rows == 0


def test_a_big_config_travels(bench: Bench) -> None:
    value = ["x" * 100] * 30_000
    assert load(completed(bench.run(bench.training("return", config={"value": value}))).path) == value


def test_sixteen_jobs_at_once(bench: Bench) -> None:
    async def main() -> list[Outcome]:
        specs = [bench.training("return", config={"value": number}) for number in range(16)]
        return await asyncio.gather(*(bench.go(spec) for spec in specs))

    outcomes = bench.do(main())
    assert [load(completed(outcome).path) for outcome in outcomes] == list(range(16))


@pytest.mark.parametrize("do", ["background_thread"])
def test_a_thread_that_goes_on_does_not_keep_the_job(bench: Bench, do: str) -> None:
    completed(bench.run(bench.training(do)))
