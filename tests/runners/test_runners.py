import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from modelwire_runners import (
    ArtifactHierarchy,
    BaseConfig,
    BaseModelRunner,
    FunctionalModelRunner,
    ModelMetadata,
    RunContext,
    RunnerInfo,
    Severity,
    TargetError,
    check_runner,
    load_runner,
)
from modelwire_runners.invoke import run_predict, run_score, run_train


def train(config: Any, data: Any) -> Any:
    return "model"


def predict(config: Any, model: Any, historic: Any, future: Any) -> Any:
    return future


TABLE = pa.table({"x": [1, 2]})


@pytest.mark.parametrize("wrong", ["", "Upper", "a--b", "-a", "1a", "a_b"])
def test_ids_are_slugs(wrong: str) -> None:
    with pytest.raises(ValidationError):
        RunnerInfo(id=wrong)


def test_the_info_card_fills_in_and_checks_itself() -> None:
    info = RunnerInfo(id="my-model")
    assert (info.display_name, info.version, info.max_prediction_periods) == ("My model", "1.0.0", 100)
    with pytest.raises(ValidationError, match="greater than"):
        RunnerInfo(id="a", min_prediction_periods=9, max_prediction_periods=3)
    with pytest.raises(ValidationError, match="e-mail"):
        ModelMetadata(contact_email="nobody")
    with pytest.raises(ValidationError):
        ModelMetadata(repository_url="not a url")
    assert ModelMetadata(contact_email="a@b.org", repository_url="https://example.org").contact_email == "a@b.org"


def test_levels_have_labels() -> None:
    assert [ArtifactHierarchy().label(level) for level in (0, 1, 2)] == ["ml_training", "ml_prediction", "level_2"]


def test_a_class_without_predict_cannot_be_made() -> None:
    class Half(BaseModelRunner[BaseConfig]):
        def on_train(self, config: BaseConfig, data: Any, geo: Any = None) -> Any: ...

    with pytest.raises(TypeError, match="on_predict"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"on_train": lambda config: 1}, "on_train is called with"),
        ({"on_predict": lambda config, model, future: 1}, "on_predict is called with"),
        ({"on_train": "train"}, "must be a function"),
    ],
)
def test_functions_that_cannot_be_called_are_refused(functions: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        FunctionalModelRunner(**{"on_train": train, "on_predict": predict, **functions})


FILE = """
from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo

runner = FunctionalModelRunner(lambda config, data: 1, lambda config, model, historic, future: future, info=RunnerInfo(id="filed"))
number = 3

def make():
    return runner

def fail():
    raise OSError("no weights")
"""


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"service_{abs(hash(request.node.name))}.py"
    path.write_text(textwrap.dedent(FILE))
    return path


def test_a_runner_is_found_in_a_file_by_name_or_through_a_function(file: Path) -> None:
    assert load_runner(f"{file}:runner").info.id == "filed"
    assert load_runner(f"{file}:make") is load_runner(f"{file}:runner")


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "runners found there: runner"), ("number", "is a int, not a runner"), ("fail", "OSError: no weights")],
)
def test_targets_that_lead_nowhere_say_why(file: Path, name: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        load_runner(f"{file}:{name}")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("missing.py:runner", "there is no file"),
        ("no.such.module:runner", "cannot be imported"),
        ("unheard-of", "nor an installed runner"),
    ],
)
def test_unknown_targets_say_what_is_possible(target: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        load_runner(target)


def test_a_file_that_cannot_be_imported_or_hides_a_module(tmp_path: Path) -> None:
    broken = tmp_path / "broken_service.py"
    broken.write_text("1 / 0")
    with pytest.raises(TargetError, match="ZeroDivisionError"):
        load_runner(f"{broken}:runner")
    (tmp_path / "json.py").write_text("")
    with pytest.raises(TargetError, match="would hide the module"):
        load_runner(f"{tmp_path / 'json.py'}:runner")


def check(**functions: Any) -> list[str]:
    runner = FunctionalModelRunner(**{"on_train": train, "on_predict": predict, **functions})
    return [finding.code for finding in check_runner(runner, TABLE, TABLE)]


def test_a_good_runner_has_no_findings() -> None:
    assert check() == []


def test_check_runner_finds_what_is_wrong() -> None:
    def fail(*arguments: Any) -> Any:
        raise ValueError("no")

    class Strict(BaseConfig):
        needed: int

    assert check(on_train=fail) == ["train_failed"]
    assert check(on_predict=fail) == ["predict_failed"]
    assert check(on_train=lambda config, data: threading.Lock()) == ["model_not_serializable"]
    assert check(on_predict=lambda config, model, historic, future: future.head(1)) == ["prediction_row_count"]
    runner = FunctionalModelRunner(train, predict, config_schema=Strict)
    (finding,) = check_runner(runner)
    assert (finding.code, finding.severity, finding.field) == ("config_required", Severity.INFO, "needed")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, modelwire_runners; print([m for m in ('pandas', 'polars', 'grpc', 'sqlalchemy', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_features_are_transformed_by_name_before_training_prediction_and_scores() -> None:
    seen: list[list[float]] = []

    def train(config: BaseConfig, data: pd.DataFrame) -> str:
        seen.append(data["a"].tolist())
        return "model"

    def predict(config: BaseConfig, model: str, historic: pa.Table, future: np.ndarray) -> np.ndarray:
        seen.append(historic.column("a").to_pylist())
        return future[:, 0] + future[:, 1]

    def score(config: BaseConfig, model: str, data: pa.Table) -> float:
        return float(sum(data.column("a").to_pylist()))

    transforms = {"a": lambda a: a / 10, "absent": lambda a: 1 // 0}
    runner = FunctionalModelRunner(train, predict, on_score=score, transforms=transforms)
    table = pa.table({"a": [10.0, 20.0], "b": [1.0, 2.0]})
    model = run_train(runner, {}, table, None, RunContext())
    predicted = run_predict(runner, {}, model, table.slice(0, 1), table, None, RunContext())
    assert predicted.to_pydict() == {"prediction": [2.0, 4.0]}
    assert seen == [[1.0, 2.0], [1.0]]
    assert run_score(runner, {}, model, table, RunContext()) == {"score": 3.0}
    assert table.column("a").to_pylist() == [10.0, 20.0]


def test_texts_are_transformed_too() -> None:
    codes = np.vectorize({"basic": 0, "pro": 1}.get)
    runner = FunctionalModelRunner(
        lambda config, data: None, lambda config, model, historic, future: future, transforms={"plan": codes}
    )
    future = pa.table({"plan": ["pro", "basic"]})
    assert run_predict(runner, {}, None, future.slice(0, 0), future, None, RunContext()).column("plan").to_pylist() == [1, 0]


class Scored(BaseModelRunner[BaseConfig]):
    def on_train(self, config: BaseConfig, data: Any, geo: Any = None) -> Any:
        return 3

    def on_predict(self, config: BaseConfig, model: Any, historic: Any, future: Any, geo: Any = None) -> Any:
        return future


def test_a_class_may_say_how_good_its_models_are() -> None:
    class Own(Scored):
        async def on_score(self, config: BaseConfig, model: int, data: pa.Table) -> Any:
            return {"rows": data.num_rows, "model": np.float32(model)}

    assert not Scored().overrides("on_score")
    assert Own().overrides("on_score")
    assert run_score(Own(), {}, 3, pa.table({"a": [1, 2]}), RunContext()) == {"rows": 2.0, "model": 3.0}


def test_a_hook_for_scores_that_cannot_be_called_is_told() -> None:
    class Wrong(Scored):
        def on_score(self, config: BaseConfig) -> Any:  # type: ignore[override]
            return 1

    (finding,) = check_runner(Wrong())
    assert (finding.code, finding.field) == ("signature", "on_score")
    with pytest.raises(TypeError, match="on_score is called with"):
        FunctionalModelRunner(train, predict, on_score=lambda config: 1)
