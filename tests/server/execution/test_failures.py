"""Jobs that fail: each way to fail is told apart."""

from pathlib import Path

import cloudpickle
import pyarrow as pa
import pytest
from job_bench import Bench

from modelwire_server.errors import ModelwireError, StorageFull
from modelwire_server.execution.content import save_model
from modelwire_server.execution.interface import Failed


def failure(bench: Bench, do: str, *, runner: str = "zoo", timeout: float | None = None) -> ModelwireError:
    outcome = bench.run(bench.training(do, runner=runner, timeout=timeout))
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def prediction_failure(bench: Bench, do: str, model: bytes) -> ModelwireError:
    path, blob = bench.stored(model)
    outcome = bench.run(bench.predicting(do, pa.table({"x": [1, 2, 3]}), path, blob))
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def test_an_exception_of_the_runner(bench: Bench) -> None:
    error = failure(bench, "fail")
    assert error.reason == "RUNNER_FAILED"
    assert error.message == "ValueError: no such luck: é\\ud800\N{REPLACEMENT CHARACTER}"
    assert error.metadata["type"] == "ValueError"
    assert error.metadata["message"].startswith("no such luck")
    assert error.traceback is not None
    lines = error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "zoo.py" in lines[1]
    assert lines[-1].startswith("ValueError: no such luck")


def test_an_exception_of_an_async_runner(bench: Bench) -> None:
    error = failure(bench, "", runner="later")
    assert error.message == "KeyError: 'late'"
    assert error.traceback is not None
    assert "zoo.py" in error.traceback.splitlines()[1]


def test_an_endless_message_is_cut(bench: Bench) -> None:
    error = failure(bench, "fail_deep")
    assert error.message.startswith("LookupError: xxx")
    assert len(error.message) < 5000
    assert error.traceback is not None
    assert len(error.traceback) <= 64 * 1024


@pytest.mark.parametrize(("do", "code"), [("exit", "3"), ("exit_with_text", "1"), ("_exit", "5")])
def test_a_runner_that_ends_its_process(bench: Bench, do: str, code: str) -> None:
    error = failure(bench, do)
    assert error.reason == "RUNNER_EXITED"
    assert error.metadata == {"exit_code": code}


def test_last_words_are_told(bench: Bench) -> None:
    assert failure(bench, "_exit").message.endswith("its last line was: the last words")
    assert bench.texts("stderr") == [*(f"line {number}" for number in range(2000)), "the last words"]


def test_the_text_of_sys_exit_is_in_the_log(bench: Bench) -> None:
    failure(bench, "exit_with_text")
    assert bench.texts("stderr") == ["that is all"]


@pytest.mark.parametrize(
    ("do", "runner", "signal", "hint"),
    [
        ("kill", "zoo", "SIGKILL", "out of memory"),
        ("segfault", "zoo", "SIGSEGV", ""),
        ("spin", "short-of-cpu", "SIGXCPU", "limit of 1 s"),
    ],
)
def test_a_runner_that_is_killed(bench: Bench, do: str, runner: str, signal: str, hint: str) -> None:
    error = failure(bench, do, runner=runner)
    assert error.reason == "RUNNER_KILLED"
    assert error.metadata == {"signal": signal}
    assert signal in error.message
    assert hint in error.message
    assert any("zoo.py" in text for text in bench.texts("stderr")) == (signal == "SIGSEGV")


def test_the_memory_limit(bench: Bench) -> None:
    error = failure(bench, "eat_memory", runner="short-of-memory")
    assert error.reason == "MEMORY_LIMIT"
    assert error.metadata == {"limit": str(512 << 20)}
    assert error.traceback is not None


def test_a_memory_error_without_a_limit(bench: Bench) -> None:
    error = failure(bench, "raise_memory")
    assert error.reason == "MEMORY_LIMIT"
    assert error.metadata == {}


@pytest.mark.parametrize(
    ("do", "path", "kind"),
    [
        ("unpicklable", "model['parts'][1]['lock']", "_thread.lock"),
        ("unpicklable_object", "model.steps[1][1]", "_thread.lock"),
        ("unpicklable_closure", "model.args[0]", "_thread.lock"),
        ("unpicklable_class", "model", "zoo.NoPickle"),
    ],
)
def test_a_model_that_cannot_be_stored(bench: Bench, do: str, path: str, kind: str) -> None:
    error = failure(bench, do)
    assert error.reason == "MODEL_NOT_SERIALIZABLE"
    assert f"{path} is a {kind}" in error.message
    assert error.metadata == {"type": kind, "path": path}


@pytest.mark.parametrize(("do", "rule"), [("too_few", "row_count"), ("no_frame", "type"), ("columns", "columns")])
def test_predictions_that_break_a_rule(bench: Bench, do: str, rule: str) -> None:
    error = prediction_failure(bench, do, cloudpickle.dumps(1))
    assert error.reason == "INVALID_PREDICTION"
    assert error.metadata == {"rule": rule}


def test_a_model_that_cannot_be_loaded(bench: Bench) -> None:
    error = prediction_failure(bench, "rows", b"this is no pickle")
    assert error.reason == "MODEL_NOT_LOADABLE"


def test_a_model_that_was_changed_is_not_unpickled(bench: Bench) -> None:
    path, blob = bench.stored(cloudpickle.dumps("good"))
    path.write_bytes(cloudpickle.dumps("evil"))
    outcome = bench.run(bench.predicting("rows", pa.table({"x": [1]}), path, blob))
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "CONTENT_CORRUPTED"
    assert outcome.error.metadata == {"digest": blob.digest}


def test_content_that_is_gone(bench: Bench) -> None:
    spec = bench.training("return", config={"value": 1})
    spec.frames["data"].unlink()
    outcome = bench.run(spec)
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "CONTENT_CORRUPTED"


@pytest.mark.parametrize(("runner", "timeout"), [("zoo", 0.3), ("short-of-time", None), ("short-of-time", 100.0)])
def test_the_deadline(bench: Bench, runner: str, timeout: float | None) -> None:
    error = failure(bench, "spin", runner=runner, timeout=timeout)
    assert error.reason == "DEADLINE_EXCEEDED"
    assert error.metadata == {"timeout": "0.3"}


def test_a_full_disk() -> None:
    with pytest.raises(StorageFull):
        save_model("x", Path("/dev/full"))
    with pytest.raises(StorageFull):
        save_model(b"x" * (1 << 20), Path("/dev/full"))


def test_a_runner_that_is_not_loaded(bench: Bench) -> None:
    assert "unknown" in failure(bench, "return", runner="unknown").message
