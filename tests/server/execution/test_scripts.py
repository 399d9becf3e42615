"""Jobs whose work is done by scripts: the folder that they leave, however they end."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from job_bench import Bench, write_json

from modelwire_server.artifacts.model import ARROW_STREAM, WORKSPACE, Blob
from modelwire_server.artifacts.workspace import Workspace
from modelwire_server.execution.interface import Completed, Failed, JobSpec, Made, Outcome, Stopped
from modelwire_server.execution.local import LocalExecutor
from modelwire_server.execution.specs import part_name
from modelwire_server.jobs.model import EventKind

TARGET = Path(__file__).parent / "runners" / "scripts" / "scripts.py"
NAMES = ("scripts", "small", "hungry", "busy", "poor")
FUTURE = pa.table({"code": ["001", "010"]})
HOLD = """python3 -c 'import time; held = b"1" * 50_000_000; time.sleep(60)'"""
ADD_COLUMN = "sed 's/$/,7/; 1s/,7$/,sample_0/' future.csv > predictions.csv"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalExecutor, asyncio.Runner]]:
    with asyncio.Runner() as loop, pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_SECRET", "42")
        executor = LocalExecutor([f"{TARGET}:{name}" for name in NAMES], grace=2.0)
        loop.run(executor.start())
        yield executor, loop
        loop.run(executor.close())


def training(bench: Bench, do: str, **fields: Any) -> JobSpec:
    spec = bench.training(do, **{"runner": "scripts", **fields})
    return replace(spec, artifact_id="the-artifact")


def predicting(bench: Bench, do: str, model: Made, future: pa.Table = FUTURE, *, artifact_id: str = "the-artifact") -> JobSpec:
    """A prediction with what a training has left, as the server prepares it."""
    spec = replace(bench.predicting(do, future, model.path, model.blob), runner_id="scripts", artifact_id=artifact_id)
    parts = spec.folder / "parts"
    parts.mkdir(parents=True)
    for path, blob in model.parts:
        (parts / part_name(blob.digest)).write_bytes(path.read_bytes())
    return replace(spec, parts=parts)


def completed(outcome: Outcome) -> Completed:
    assert isinstance(outcome, Completed), outcome
    return outcome


def failed(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed), outcome
    return outcome


def files_of(made: Made | None) -> dict[str, bytes]:
    """The files of a workspace, each checked against the list."""
    assert made is not None
    assert made.content_type == WORKSPACE
    document = made.path.read_bytes()
    assert made.blob == Blob(f"sha256:{hashlib.sha256(document).hexdigest()}", len(document))
    workspace = Workspace.from_json(document)
    assert made.metadata["workspace_bytes"] == workspace.size
    assert [blob for _, blob in made.parts] == [file.blob for file in workspace.files]
    contents = {file.path: path.read_bytes() for file, (path, _) in zip(workspace.files, made.parts, strict=True)}
    for file in workspace.files:
        assert file.digest == f"sha256:{hashlib.sha256(contents[file.path]).hexdigest()}"
    return contents


def test_what_a_training_leaves_is_the_model(bench: Bench) -> None:
    spec = training(
        bench, "echo hello; echo oh >&2; mkdir model; echo 42 > model/answer", geo=write_json(bench.folder / "geo", {"a": 1})
    )
    made = completed(bench.run(spec)).made
    files = files_of(made)
    assert files["model/answer"] == b"42\n"
    assert files["geo.json"] == b'{"a": 1}'
    assert {"data.csv", "data.arrow", "config.yml", "scripts.py", "assets/map.txt"} <= files.keys()
    assert {name: made.metadata[name] for name in ("exit_code", "stdout", "stderr")} == {
        "exit_code": 0,
        "stdout": "hello\n",
        "stderr": "oh\n",
    }
    assert bench.texts("stdout") == ["hello"]
    assert bench.texts("stderr") == ["oh"]
    assert [data["stage"] for data in bench.of_kind(EventKind.STAGE)] == ["starting", "loading", "training", "saving"]


def test_a_prediction_works_with_the_model_and_is_kept_with_its_workspace(bench: Bench) -> None:
    model = completed(bench.run(training(bench, "echo 42 > answer; chmod 750 answer; ln -s answer link; mkdir empty"))).made
    done = completed(bench.run(predicting(bench, f"ls -l answer link empty > seen; {ADD_COLUMN}", model)))
    assert (done.made.content_type, done.made.metadata) == (ARROW_STREAM, {"rows": 2})
    assert pa.ipc.open_stream(done.made.path).read_all().to_pydict() == {"code": ["001", "010"], "sample_0": [7, 7]}
    seen = files_of(done.workspace)["seen"].decode()
    assert "-rwxr-x---" in seen
    assert "link -> answer" in seen


def test_a_prediction_that_is_not_to_be_kept_leaves_nothing(bench: Bench) -> None:
    model = completed(bench.run(training(bench, ":"))).made
    assert completed(bench.run(predicting(bench, ADD_COLUMN, model, artifact_id=""))).workspace is None
    left = failed(bench.run(predicting(bench, "echo no >&2; exit 4", model, artifact_id="")))
    assert left.diagnostic is None
    assert left.error.message == "predict script failed with exit code 4; stderr tail: no"


def test_a_script_that_fails_leaves_its_workspace(bench: Bench) -> None:
    left = failed(bench.run(training(bench, "echo partial > log.txt; echo out; echo 'it went wrong' >&2; exit 3")))
    assert (left.error.reason, left.error.metadata) == ("RUNNER_EXITED", {"exit_code": "3"})
    assert left.error.message == (
        "train script failed with exit code 3; diagnostic artifact the-artifact holds the workspace, stdout and stderr; "
        "stderr tail: it went wrong"
    )
    assert files_of(left.diagnostic)["log.txt"] == b"partial\n"
    assert left.diagnostic is not None
    assert (left.diagnostic.metadata["exit_code"], left.diagnostic.metadata["stderr"]) == (3, "it went wrong\n")


@pytest.mark.parametrize(
    ("do", "reason", "words"),
    [
        ("kill -9 $$", "RUNNER_KILLED", "predict script was killed by SIGKILL"),
        (":", "RUNNER_FAILED", "did not write predictions.csv; diagnostic artifact the-artifact holds"),
        ("true > predictions.csv", "INVALID_PREDICTION", "the predict script wrote predictions.csv, but it is empty"),
        ("cp future.csv predictions.csv", "INVALID_PREDICTION", "did not return the columns sample_0"),
        ("echo sample_0 > predictions.csv", "INVALID_PREDICTION", "0 rows for the 2 rows"),
        ("rm config.yml; mkdir config.yml; exit 1", "RUNNER_EXITED", "exit code 1"),
    ],
)
def test_what_goes_wrong_with_a_prediction(bench: Bench, do: str, reason: str, words: str) -> None:
    model = completed(bench.run(training(bench, "echo 42 > answer"))).made
    left = failed(bench.run(predicting(bench, do, model)))
    assert left.error.reason == reason
    assert words in left.error.message
    assert files_of(left.diagnostic)["answer"] == b"42\n"


def test_a_folder_in_the_place_of_a_file_is_named(bench: Bench) -> None:
    model = completed(bench.run(training(bench, "rm -f future.csv; mkdir future.csv"))).made
    left = failed(bench.run(predicting(bench, ADD_COLUMN, model)))
    assert left.error.reason == "RUNNER_FAILED"
    assert "future.csv is a folder" in left.error.message


def test_a_model_that_was_changed_is_not_run(bench: Bench) -> None:
    model = completed(bench.run(training(bench, "echo 42 > answer"))).made
    changed = predicting(bench, ADD_COLUMN, model)
    assert changed.parts is not None
    answer = next(blob for path, blob in model.parts if path.name == "answer")
    (changed.parts / part_name(answer.digest)).write_bytes(b"43\n")
    assert failed(bench.run(changed)).error.reason == "CONTENT_CORRUPTED"
    (changed.parts / part_name(answer.digest)).unlink()
    gone = replace(changed, folder=bench.folder / "gone")
    assert failed(bench.run(gone)).error.reason == "CONTENT_CORRUPTED"
    listed = replace(changed, folder=bench.folder / "listed", model_blob=Blob(f"sha256:{'0' * 64}", 1))
    assert failed(bench.run(listed)).error.reason == "CONTENT_CORRUPTED"


def test_a_deadline_ends_all_and_keeps_what_is_there(bench: Bench) -> None:
    save = "trap 'echo saved > saved; exit 1' TERM; while :; do sleep 0.01; done"
    do = f"echo half > half; setsid sleep 600 & echo $!; {save}"
    left = failed(bench.run(training(bench, do, timeout=1.0)))
    assert left.error.reason == "DEADLINE_EXCEEDED"
    files = files_of(left.diagnostic)
    assert (files["half"], files["saved"]) == (b"half\n", b"saved\n")
    assert not psutil.pid_exists(int(bench.texts("stdout")[0]))


def test_a_script_that_will_not_go_is_killed(bench: Bench) -> None:
    do = "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $!; while :; do sleep 1; done"
    left = failed(bench.run(training(bench, do, timeout=0.5)))
    assert (left.error.reason, left.diagnostic) == ("DEADLINE_EXCEEDED", None)
    assert not psutil.pid_exists(int(bench.texts("stdout")[0]))


def test_a_canceled_script_is_stopped(bench: Bench) -> None:
    spec = training(bench, f"touch {bench.marks}/begun; exec sleep 600")
    assert bench.do(bench.run_until(spec, "begun", bench.cancel)) == Stopped()


@pytest.mark.parametrize(
    ("runner", "do", "reason"),
    [
        (
            "hungry",
            f"{HOLD} & {HOLD}",
            "MEMORY_LIMIT",
        ),
        ("busy", "while :; do :; done", "RUNNER_KILLED"),
        ("small", "head -c 200000 /dev/zero > large; exec sleep 60", "CONTENT_TOO_LARGE"),
        ("small", "head -c 200000 /dev/zero > large", "CONTENT_TOO_LARGE"),
    ],
)
def test_a_script_that_uses_too_much_fails(bench: Bench, runner: str, do: str, reason: str) -> None:
    left = failed(bench.run(training(bench, do, runner=runner)))
    assert left.error.reason == reason
    assert (left.diagnostic is None) == (reason == "CONTENT_TOO_LARGE")


def test_output_beyond_its_limit_is_cut(bench: Bench) -> None:
    made = completed(bench.run(training(bench, "seq 2000", runner="small"))).made
    assert bench.texts("stdout")[-1] == "[output is cut here: the job wrote more than 1000 bytes]"
    assert made.metadata["stdout"].endswith("\n2000\n")


def test_output_of_any_kind_fits_into_the_metadata(bench: Bench) -> None:
    made = completed(bench.run(training(bench, "head -c 100000 /dev/urandom; head -c 100000 /dev/zero >&2"))).made
    assert max(len(made.metadata[name].encode()) for name in ("stdout", "stderr")) <= 40 * 1024


def test_jobs_share_files_until_one_is_written_to(bench: Bench) -> None:
    def inode(made: Made) -> int:
        return next(path for path, _ in made.parts if path.name == "map.txt").stat().st_ino

    first, second = (completed(bench.run(training(bench, ":"))).made for _ in range(2))
    assert inode(first) == inode(second)
    left = failed(bench.run(training(bench, "chmod u+w assets/map.txt; echo mine > assets/map.txt")))
    assert left.error.reason == "RUNNER_FAILED"
    assert "changed shared files: assets/map.txt" in left.error.message
    third = completed(bench.run(training(bench, ":"))).made
    assert files_of(third)["assets/map.txt"] == b"a map\n"


def test_the_environment_holds_what_is_allowed(bench: Bench) -> None:
    rich, poor = (completed(bench.run(training(bench, "env > names", runner=runner))).made for runner in ("scripts", "poor"))
    assert b"A_SECRET=42" in files_of(rich)["names"]
    names = {line.partition(b"=")[0] for line in files_of(poor)["names"].splitlines()}
    assert {b"PATH", b"OMP_NUM_THREADS", b"MODELWIRE_JOB_ID", b"MODELWIRE_FORK_SERVER"} <= names
    assert b"A_SECRET" not in names


def test_what_cannot_be_kept_is_told(bench: Bench) -> None:
    made = completed(bench.run(training(bench, "ln -s /etc/passwd outside; mkfifo pipe"))).made
    assert files_of(made).keys() & {"outside", "pipe"} == set()
    assert made.metadata["left_out"] == ["outside: the link leads out of the workspace, to '/etc/passwd'"]


def test_a_project_is_copied_without_what_is_the_servers(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(TARGET.read_text())
    state = tmp_path / "state"
    (state / "jobs").mkdir(parents=True)
    (state / "x").write_text("private")
    with asyncio.Runner() as loop:
        executor = LocalExecutor([f"{tmp_path / 'service.py'}:scripts"], private=[state])
        bench = Bench(state, executor, loop)
        made = completed(bench.run(training(bench, ":"))).made
        loop.run(executor.close())
    assert files_of(made).keys() == {"service.py", "line.sh", "config.yml", "data.csv", "data.arrow"}


def test_a_full_disk_is_told(bench: Bench) -> None:
    """/dev/full takes the list's place: nothing can be written to it."""
    spec = training(bench, ":")
    spec.folder.mkdir(parents=True)
    (spec.folder / "workspace.json").symlink_to("/dev/full")
    left = failed(bench.run(spec))
    assert (left.error.reason, left.diagnostic) == ("STORAGE_FULL", None)
