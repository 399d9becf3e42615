"""What is looked at when a training is done: it may find nothing, but it fails nothing."""

import contextlib
import logging
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from modelwire_runners import FunctionalModelRunner, RunContext, RunnerLimits
from modelwire_server.columns import SchemaPolicy
from modelwire_server.errors import SchemaViolation
from modelwire_server.execution import trained
from modelwire_server.execution.interface import JobSpec
from modelwire_server.execution.trained import Known, as_trained, look_at
from modelwire_server.jobs.model import JobKind
from modelwire_server.signature import Signature

DATA = pa.table({"a": np.arange(20.0), "b": np.arange(20.0) ** 2, "y": np.arange(20.0)})
MODEL = LinearRegression().fit(DATA.select(["a", "b"]).to_pandas().to_numpy(), DATA.column("y").to_numpy())
log = logging.getLogger("runner")
Predict = Callable[[Any, pd.DataFrame], Any]


def plain(model: Any, rows: pd.DataFrame) -> Any:
    return {"p": model.predict(rows.to_numpy())}


class Look:
    """Looks at a model that was trained on DATA."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, predict: Predict = plain, *, compile: bool = True, seconds: float | None = None, **fields: Any) -> Known:
        def on_predict(config: Any, model: Any, historic: pd.DataFrame, future: pd.DataFrame, context: RunContext) -> Any:
            context.progress(0.5)
            return predict(model, future)

        runner = FunctionalModelRunner(
            lambda config, data: MODEL, on_predict, **{"independent_rows": True, "target_columns": ["y"], **fields}
        )
        spec = JobSpec(
            job_id="1", attempt=1, kind=JobKind.TRAIN, runner_id="x", config={}, frames={}, folder=self.folder, compile=compile
        )
        context = RunContext.ending_in(seconds, report=lambda kind, data: self.told.append((kind, data)))
        return look_at(spec, runner, MODEL, DATA, context, self.stages.append)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    return Look(tmp_path)


def test_a_model_is_compiled_and_its_columns_are_known(look: Look) -> None:
    known = look()
    assert known.metadata["signature"]["outputs"] == [{"name": "p", "type": "double"}]
    assert known.metadata["compiled"]["passed"]
    (part,) = known.parts
    assert part.items() <= {**known.metadata["compiled"]["methods"][0], "file": "compiled-0.onnx"}.items()
    assert (look.folder / part["file"]).stat().st_size == part["size"]
    assert look.stages == ["compiling"]
    assert [kind for kind, _ in look.told] == ["log"]
    assert look.told[0][1]["text"].startswith("compiled: predictions differ by ")


@pytest.mark.parametrize("fields", [{"independent_rows": False}, {"compile": False}])
def test_what_is_not_to_be_compiled_is_not(look: Look, tmp_path: Path, fields: dict[str, bool]) -> None:
    known = look(**fields)
    assert [column["name"] for column in known.metadata["signature"]["inputs"]] == ["a", "b"]
    assert "compiled" not in known.metadata
    assert look.stages == look.told == known.parts == []


def broken(model: Any, rows: pd.DataFrame) -> Any:
    raise ValueError("not like this")


def hungry(model: Any, rows: pd.DataFrame) -> Any:
    raise MemoryError


def test_a_predict_function_that_fails_fails_no_training(look: Look) -> None:
    known = look(broken)
    assert known.metadata["signature"]["outputs"] == []
    assert known.metadata["compiled"] == {
        "engine": "onnx",
        "passed": False,
        "reason": "ValueError: not like this",
        "seconds": 0.0,
    } | {"seconds": known.metadata["compiled"]["seconds"]}
    assert look.told[0][1]["text"] == "not compiled, the model predicts as it was trained: ValueError: not like this"
    assert look(hungry).metadata["compiled"]["reason"] == "there is not enough memory"


def test_what_takes_too_long_is_given_up(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(model: Any, rows: pd.DataFrame) -> Any:
        while True:
            # As many runners do.
            with contextlib.suppress(Exception):
                time.sleep(1)

    monkeypatch.setattr(trained, "_MAX_SECONDS", 1.0)
    before = signal.getsignal(signal.SIGALRM)
    known = look(endless)
    assert known.metadata["compiled"]["reason"] == "it takes longer than 1 s"
    assert known.metadata["signature"]["outputs"] == []
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_nothing_is_tried_short_of_the_end(look: Look) -> None:
    assert look(seconds=1.5).metadata["compiled"]["reason"] == "there is no time left before the job is ended"
    assert (
        look(limits=RunnerLimits(cpu_seconds=1)).metadata["compiled"]["reason"] == "there is no time left before the job is ended"
    )


def test_what_is_tried_makes_no_noise(look: Look, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    def noisy(model: Any, rows: pd.DataFrame) -> Any:
        print("predicting")
        log.warning("predicting")
        warnings.warn("predicting", stacklevel=1)
        return plain(model, rows)

    assert look(noisy).metadata["compiled"]["passed"]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    log.warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]


def test_columns_that_cannot_be_recorded_are_left_out(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    known = look(target_columns=3, independent_rows=False)
    assert known.metadata["signature"]["note"].startswith("the columns could not be recorded: TypeError: ")


def test_a_prediction_gets_the_columns_of_the_training() -> None:
    signature = Signature.of(DATA, ["y"]).to_json()
    spec = JobSpec(
        job_id="1",
        attempt=1,
        kind=JobKind.PREDICT,
        runner_id="x",
        config={},
        frames={},
        folder=Path(),
        signature=signature,
        schema_policy=SchemaPolicy.SAFE,
    )
    assert as_trained(spec, pa.table({"b": [1], "a": [2]})).equals(pa.table({"a": [2.0], "b": [1.0]}))
    with pytest.raises(SchemaViolation):
        as_trained(spec, pa.table({"a": [2]}))
