"""Runners made of commands: what a script finds, what is made of what it writes, and how it may fail."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import yaml
from pydantic import Field

from modelwire_runners import (
    BaseConfig,
    RunCanceled,
    RunContext,
    RunnerInfo,
    RunnerLimits,
    Severity,
    ShellModelRunner,
    ValidationDiagnostic,
    check_runner,
)
from modelwire_runners.invoke import run_predict, run_train, run_validate_train
from modelwire_runners.scripts import KEPT_HEAD, KEPT_TAIL, LimitReached, ScriptFailed, ScriptStopped
from modelwire_runners.shell import OutputMissing, TrainedWorkspace
from modelwire_runners.tables import TableError

DATA = pa.table({"time_period": ["2024-01", "2024-02"], "code": ["001", "010"], "cases": [1, 2]})
FUTURE = DATA.select(["time_period", "code"])
HOLD = """python3 -c 'import time; held = b"1" * 40_000_000; time.sleep(60)'"""
ECHO = "sed 's/$/,7/; 1s/,7$/,sample_0/' {future_file} > {output_file}"


class Config(BaseConfig):
    n_lags: int = Field(default=3, alias="n-lags")
    name: str = "ø"


def shell(project: Path, train: str = ":", predict: str = ECHO, **options: Any) -> ShellModelRunner:
    return ShellModelRunner(train, predict, project=project, info=RunnerInfo(id="shell"), **options)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def told() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def context(tmp_path: Path, told: list[tuple[str, dict[str, Any]]]) -> RunContext:
    (tmp_path / "runs").mkdir()
    return RunContext(
        folder=tmp_path / "runs",
        job_id="job-1",
        run_info={"prediction_periods": 2},
        deadline=datetime(2030, 1, 2, tzinfo=UTC),
        report=lambda kind, data: told.append((kind, data)),
    )


Train = Callable[..., TrainedWorkspace]


@pytest.fixture
def train(project: Path, context: RunContext) -> Train:
    """Trains with a command; returns the folder that it leaves."""

    def run(command: str, *, config: dict[str, Any] | None = None, geo: Any = None, **options: Any) -> TrainedWorkspace:
        result: TrainedWorkspace = run_train(shell(project, command, **options), config or {}, DATA, geo, context)
        return result

    return run


def text(model: TrainedWorkspace, name: str) -> str:
    return (model.root / name).read_text()


class TestCommands:
    def test_placeholders_stand_for_files(self, train: Train) -> None:
        model = train("echo {config_file} {data_file} {model_file} '{geo_file}' {{}} > said")
        assert text(model, "said") == "config.yml data.csv model  {}\n"
        assert text(train("echo {geo_file} > said", geo={"type": "FeatureCollection", "features": []}), "said") == "geo.json\n"

    def test_a_prediction_has_its_own(self, project: Path, context: RunContext) -> None:
        command = "echo sample_0 {config_file} {model_file} {historic_file} {future_file} '{geo_file}' > {output_file}"
        runner = shell(project, predict=command, same_rows=False)
        table = run_predict(runner, {}, run_train(runner, {}, DATA, None, context), DATA, FUTURE, None, context)
        assert table.column_names == ["sample_0 config.yml model historic.csv future.csv "]

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("train {data}", "there is no placeholder {data}"),
            ("train {future_file}", r"there is no placeholder {future_file}; it may hold {config_file}, {data_file}"),
            ("awk '{print $1}' {data_file}", "any other brace is written twice"),
            ("echo ${HOME}", "any other brace is written twice"),
            ("echo {", "any other brace is written twice"),
            ("echo {data_file:>9}", "there is no placeholder {data_file:>9}"),
            ("echo {data_file!r} {}", "there is no placeholder {data_file!r}"),
            (" ", "train_command is empty"),
        ],
    )
    def test_others_are_refused_at_once(self, project: Path, command: str, words: str) -> None:
        with pytest.raises(ValueError, match=r"^train_command") as error:
            shell(project, command)
        assert words in str(error.value)

    def test_a_project_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no folder"):
            shell(tmp_path / "missing")
        with pytest.raises(ValueError, match="flat or chap_core"):
            shell(tmp_path, config_format="deep")

    def test_the_project_is_by_default_where_the_runner_is_made(self) -> None:
        runner = ShellModelRunner("a", "b")
        assert runner.project.root == Path(__file__).parent
        assert runner.info.id.endswith("test-shell")


class TestWorkspace:
    def test_a_script_works_in_a_copy_of_the_project(self, project: Path, train: Train) -> None:
        (project / "lib").mkdir()
        (project / "lib" / "rules.sh").write_text("rule=strict")
        model = train(". ./lib/rules.sh; echo $rule > lib/rules.sh; pwd > here; mkdir -p out/deep; echo 1 > out/deep/model")
        assert text(model, "lib/rules.sh") == "strict\n"
        assert (project / "lib" / "rules.sh").read_text() == "rule=strict"
        assert text(model, "here").strip() == str(model.root)
        files = {file.path for file in model.stock.files}
        assert files == {"lib/rules.sh", "here", "out/deep/model", "config.yml", "data.csv", "data.arrow"}

    def test_a_prediction_finds_what_the_training_left_and_changes_nothing_of_it(self, project: Path, context: RunContext) -> None:
        runner = shell(project, "echo model > weights; echo old > predictions.csv", f"cat weights; echo x > weights; {ECHO}")
        model = run_train(runner, {}, DATA, None, context)
        for _ in range(2):
            table = run_predict(runner, {}, model, DATA, FUTURE, None, context)
            assert table.to_pydict() == {**FUTURE.to_pydict(), "sample_0": [7, 7]}
        assert text(model, "weights") == "model\n"

    def test_tables_are_there_as_csv_and_as_arrow(self, train: Train) -> None:
        model = train(":")
        assert text(model, "data.csv") == "time_period,code,cases\n2024-01,001,1\n2024-02,010,2\n"
        assert pa.ipc.open_file(model.root / "data.arrow").read_all().equals(DATA)

    def test_the_config_is_yaml_with_aliases_sorted(self, train: Train) -> None:
        model = train(":", config={"n-lags": 5, "extra": [1, {"a": None}]}, config_schema=Config)
        expected = "additional_continuous_covariates: []\nextra:\n- 1\n- a: null\nn-lags: 5\nname: ø\nprediction_periods: 3\n"
        assert text(model, "config.yml") == expected

    def test_the_config_in_the_layout_of_chap_core(self, train: Train) -> None:
        model = train(":", config={"prediction_periods": 4}, config_schema=Config, config_format="chap_core")
        assert yaml.safe_load(text(model, "config.yml")) == {
            "prediction_periods": 4,
            "additional_continuous_covariates": [],
            "user_option_values": {"n-lags": 3, "name": "ø"},
        }

    def test_geo_is_a_file_if_it_is_given(self, train: Train) -> None:
        geo = {"type": "FeatureCollection", "features": []}
        assert json.loads(text(train(":", geo=geo), "geo.json")) == geo
        assert not (train(":").root / "geo.json").exists()

    def test_variables_tell_of_the_run(self, train: Train) -> None:
        model = train(
            "printenv MODELWIRE_JOB_ID MODELWIRE_DEADLINE MODELWIRE_RUN_INFO > told; dirname $MODELWIRE_PROGRESS_FILE > place"
        )
        assert text(model, "told") == 'job-1\n2030-01-02T00:00:00+00:00\n{"prediction_periods": 2}\n'
        assert text(model, "place").strip() == str(model.root.parent)

    def test_adapters_add_columns(self, train: Train) -> None:
        adapters = {"y": "year", "m": "month", "w": "week", "disease_cases": "cases", "rain": "rainfall", "code": "cases"}
        lines = text(train(":", adapters=adapters), "data.csv").splitlines()
        assert lines == ["time_period,code,cases,y,m,w,disease_cases", "2024-01,1,1,2024,1,,1", "2024-02,2,2,2024,2,,2"]


@pytest.mark.parametrize(
    ("period", "part", "value"),
    [
        ("2024", "year", 2024),
        ("2024-05-31", "month", 5),
        ("202405", "month", 5),
        ("2024W05", "week", 5),
        ("2024-W53", "week", 53),
        ("2024W05", "month", None),
        (datetime(2024, 12, 31, tzinfo=UTC), "week", 1),
        (datetime(2024, 12, 31, tzinfo=UTC).date(), "year", 2024),
    ],
)
def test_parts_of_periods(period: Any, part: str, value: int | None) -> None:
    from modelwire_runners.adapters import adapt

    assert adapt(pa.table({"time_period": [period]}), {"part": part}).column("part").to_pylist() == [value]


class TestPredictions:
    def predict(self, project: Path, context: RunContext, command: str, **options: Any) -> pa.Table:
        runner = shell(project, ":", command, **options)
        return run_predict(runner, {}, run_train(runner, {}, DATA, None, context), DATA, FUTURE, None, context)

    def test_known_columns_keep_their_types(self, project: Path, context: RunContext) -> None:
        table = self.predict(project, context, "printf 'code,cases,new\\n001,2.0,1.5\\n010,NA,2\\n' > {output_file}")
        assert table.to_pydict() == {"code": ["001", "010"], "cases": [2, None], "new": [1.5, 2.0]}
        assert table.schema.field("cases").type == pa.int64()

    def test_arrow_will_do_if_there_is_no_csv(self, project: Path, context: RunContext) -> None:
        assert self.predict(project, context, "cp future.arrow predictions.arrow").equals(FUTURE)

    def test_a_missing_file_is_named(self, project: Path, context: RunContext) -> None:
        with pytest.raises(OutputMissing, match=r"did not write predictions\.csv"):
            self.predict(project, context, "mkdir {output_file}")

    def test_a_file_that_is_no_table_is_named(self, project: Path, context: RunContext) -> None:
        with pytest.raises(TableError, match=r"wrote predictions\.csv, but it is empty"):
            self.predict(project, context, ": > {output_file}")


class TestFailures:
    def test_an_exit_code_is_told_with_the_end_of_stderr(self, train: Train) -> None:
        with pytest.raises(ScriptFailed) as failure:
            train("seq 30 >&2; echo out; exit 3")
        tail = " | ".join(str(n) for n in range(21, 31))
        assert str(failure.value) == f"train script failed with exit code 3; stderr tail: {tail}"
        assert failure.value.explain("more") == f"train script failed with exit code 3; more; stderr tail: {tail}"
        assert (failure.value.end.exit_code, failure.value.end.stdout) == (3, "out\n")

    def test_silence_is_told_without_a_tail(self, train: Train) -> None:
        with pytest.raises(ScriptFailed, match=r"^train script failed with exit code 1$"):
            train("false")

    def test_a_command_that_does_not_exist(self, train: Train) -> None:
        with pytest.raises(ScriptFailed, match=r"exit code 127.*no-such-program"):
            train("no-such-program")

    def test_signals_have_names(self, train: Train) -> None:
        with pytest.raises(ScriptFailed, match="was killed by SIGKILL") as failure:
            train("kill -9 $$")
        assert failure.value.end.signal == "SIGKILL"
        with pytest.raises(ScriptFailed, match=r"failed with exit code 143 \(SIGTERM\)"):
            train("sh -c 'kill $$'; exit $?")
        with pytest.raises(ScriptFailed, match=f"was killed by signal {signal.SIGRTMIN + 1}"):
            train(f"kill -{signal.SIGRTMIN + 1} $$")

    def test_what_r_says_at_last_is_left_out(self, train: Train) -> None:
        said = "Error in f(x) : no data\nCalls: f\nIn addition: Warning message:\nIn g() : old\nExecution halted\n"
        with pytest.raises(ScriptFailed, match=r"stderr tail: Error in f\(x\) : no data \| Calls: f$"):
            train(f"printf '{said}' >&2; exit 1")
        with pytest.raises(ScriptFailed, match=r"stderr tail: Warning message: \| In g\(\) : old$"):
            train("printf 'Warning message:\nIn g() : old\nExecution halted\n' >&2; exit 1")

    def test_long_output_loses_its_middle(self, train: Train) -> None:
        with pytest.raises(ScriptFailed) as failure:
            train("seq 100000; exit 1")
        out = failure.value.end.stdout
        assert out.startswith("1\n2\n")
        assert out.endswith("\n100000\n")
        assert f"[... {588895 - KEPT_HEAD - KEPT_TAIL} bytes are left out ...]" in out


class TestProgress:
    def test_is_passed_on(self, project: Path, train: Train, told: list[tuple[str, dict[str, Any]]]) -> None:
        lines = [
            {"progress": 0.5, "message": "half"},
            {"progress": 2},
            {"metric": "rmse", "value": 1.5, "step": 3},
            {"metric": "n", "value": 7},
            {"log": "few rows", "level": "WARNING"},
            {"log": "ø"},
        ]
        (project / "said").write_text("\n".join(json.dumps(line) for line in lines))
        train("cat said > $MODELWIRE_PROGRESS_FILE")
        log = {"source": "logging", "logger": "runner"}
        assert told == [
            ("progress", {"fraction": 0.5, "message": "half"}),
            ("progress", {"fraction": 1.0, "message": ""}),
            ("metric", {"name": "rmse", "value": 1.5, "step": 3}),
            ("metric", {"name": "n", "value": 7.0}),
            ("log", {**log, "level": "WARNING", "text": "few rows"}),
            ("log", {**log, "level": "INFO", "text": "ø"}),
        ]

    @pytest.mark.parametrize(
        "line",
        ["half way", "[]", "{}", '{"progress": null}', '{"metric": "x"}', '{"progress": NaN}', '{"metric": "x", "value": 1e999}'],
    )
    def test_nonsense_is_told_once(self, project: Path, train: Train, told: list[tuple[str, dict[str, Any]]], line: str) -> None:
        (project / "said").write_text(f"{line}\n" * 3 + '\n\n{"progress": 1}')
        train("cat said > $MODELWIRE_PROGRESS_FILE")
        assert [kind for kind, _ in told] == ["log", "progress"]
        assert line in told[0][1]["text"]

    def test_is_told_while_the_script_runs(self, project: Path, tmp_path: Path, context: RunContext) -> None:
        gate = tmp_path / "gate"
        os.mkfifo(gate)

        def report(kind: str, data: dict[str, Any]) -> None:
            gate.write_text("go on\n")

        command = f"echo '{{{{\"progress\": 0.1}}}}' > $MODELWIRE_PROGRESS_FILE; read word < {gate}; echo $word > said"
        listening = RunContext(folder=context.folder, report=report)
        model = run_train(shell(project, command), {}, DATA, None, listening)
        assert text(model, "said") == "go on\n"

    def test_a_file_that_is_begun_anew_is_read_anew(
        self, project: Path, tmp_path: Path, context: RunContext, told: list[tuple[str, dict[str, Any]]]
    ) -> None:
        gate = tmp_path / "gate"
        os.mkfifo(gate)

        def report(kind: str, data: dict[str, Any]) -> None:
            told.append((kind, data))
            if len(told) == 1:
                gate.write_text("go on\n")

        write = "> $MODELWIRE_PROGRESS_FILE"
        command = f"echo '{{{{\"progress\": 0.111}}}}' {write}; read _ < {gate}; echo '{{{{\"progress\": 0.2}}}}' {write}"
        run_train(shell(project, command), {}, DATA, None, RunContext(folder=context.folder, report=report))
        assert [data["fraction"] for _, data in told] == [0.111, 0.2]


class TestProcesses:
    def test_none_outlives_the_script(self, train: Train) -> None:
        escape = "setsid sh -c 'echo $$ > escaped; exec sleep 600' & (setsid sleep 601 > /dev/null 2>&1 &)"
        model = train(f"{escape}; while [ ! -s escaped ]; do :; done")
        assert not psutil.pid_exists(int(text(model, "escaped")))
        left = [process for process in psutil.Process().children(recursive=True) if process.name() == "sleep"]
        assert left == []

    def test_a_canceled_one_may_tidy_up(self, project: Path, context: RunContext) -> None:
        canceled = threading.Event()
        told = RunContext(folder=context.folder, report=lambda kind, data: canceled.set(), is_canceled=canceled.is_set)
        ready = "echo '{{\"progress\": 0}}' > $MODELWIRE_PROGRESS_FILE"
        command = f"trap 'echo tidy; exit 0' TERM; {ready}; while :; do sleep 0.01; done"
        with pytest.raises(ScriptStopped) as stopped:
            run_train(shell(project, command), {}, DATA, None, told)
        assert isinstance(stopped.value, RunCanceled)
        assert stopped.value.end.stdout == "tidy\n"

    def test_is_asked_to_end_once(self, project: Path, context: RunContext) -> None:
        canceled = threading.Event()
        told = RunContext(folder=context.folder, report=lambda kind, data: canceled.set(), is_canceled=canceled.is_set)
        ready = "echo '{{\"progress\": 0}}' > $MODELWIRE_PROGRESS_FILE"
        tidy = "for i in 1 2 3 4; do echo $i; sleep 0.06 || echo stopped; done; exit 0"
        with pytest.raises(ScriptStopped) as stopped:
            run_train(shell(project, f"trap '{tidy}' TERM; {ready}; while :; do sleep 0.01; done"), {}, DATA, None, told)
        assert stopped.value.end.stdout == "1\n2\n3\n4\n"

    def test_one_that_is_canceled_before_never_begins(self, project: Path, context: RunContext) -> None:
        canceled = RunContext(folder=context.folder, is_canceled=lambda: True)
        with pytest.raises(ScriptStopped):
            run_train(shell(project, "touch begun"), {}, DATA, None, canceled)
        assert context.folder is not None
        assert list(context.folder.rglob("begun")) == []

    @pytest.mark.parametrize(
        ("limits", "command", "limit"),
        [
            (RunnerLimits(workspace_bytes=100_000), "head -c 200000 /dev/zero > big; exec sleep 60", "workspace_bytes"),
            (RunnerLimits(cpu_seconds=1), "while :; do :; done & while :; do :; done", "cpu_seconds"),
            (
                RunnerLimits(memory_bytes=50_000_000),
                f"{HOLD} & {HOLD}",
                "memory_bytes",
            ),
        ],
    )
    def test_one_that_uses_too_much_is_ended(self, train: Train, limits: RunnerLimits, command: str, limit: str) -> None:
        began = time.monotonic()
        with pytest.raises(LimitReached) as reached:
            train(f"echo begun; {command}", limits=limits)
        assert reached.value.limit == limit
        assert reached.value.end.stdout.startswith("begun")
        assert time.monotonic() - began < 30

    def test_an_allocation_beyond_the_limit_fails(self, train: Train) -> None:
        with pytest.raises(ScriptFailed, match="it may use only 50000000 bytes of memory"):
            train(
                "python3 -c 'bytearray(900_000_000)'",
                limits=RunnerLimits(memory_bytes=50_000_000),
            )

    def test_the_environment_holds_what_is_allowed(self, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LC_ALL", "LC_TIME", "SECRET_KEY", "OMP_NUM_THREADS", "MODELWIRE_FORK_SERVER"):
            monkeypatch.setenv(name, "C")
        model = train("env | cut -d= -f1 | sort > names", limits=RunnerLimits(environment=["PATH", "LC_*"]))
        names = set(text(model, "names").split())
        assert {"PATH", "LC_ALL", "LC_TIME", "OMP_NUM_THREADS", "MODELWIRE_FORK_SERVER", "MODELWIRE_JOB_ID"} <= names
        assert "SECRET_KEY" not in names
        assert "SECRET_KEY" in text(train("env > names"), "names")


class TestChecks:
    def test_a_good_runner_has_no_findings(self, project: Path) -> None:
        assert check_runner(shell(project), DATA, FUTURE) == []

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            ({"train": "echo oh >&2; exit 3"}, "train_failed", "train script failed with exit code 3; stderr tail: oh"),
            ({"predict": "exit 4"}, "predict_failed", "predict script failed with exit code 4"),
            ({"predict": ":"}, "predict_failed", "did not write predictions.csv"),
            ({"predict": "head -n 2 {future_file} > {output_file}"}, "prediction_row_count", "1 rows for the 2 rows"),
            ({"prediction_columns": ["mean"]}, "prediction_columns", "did not return the columns mean"),
        ],
    )
    def test_what_goes_wrong_is_found(self, project: Path, options: dict[str, Any], code: str, words: str) -> None:
        (finding,) = check_runner(shell(project, **options), DATA, FUTURE)
        assert finding.code == code
        assert words in finding.message

    def test_checks_of_its_own_are_functions(self, project: Path) -> None:
        def few(config: BaseConfig, data: pa.Table) -> list[ValidationDiagnostic]:
            return [ValidationDiagnostic(severity=Severity.WARNING, code="few", message=f"{data.num_rows} rows")]

        runner = shell(project, on_validate_train=few)
        assert [finding.message for finding in run_validate_train(runner, {}, DATA, None)] == ["2 rows"]
        assert (runner.overrides("on_validate_train"), runner.overrides("on_validate_predict")) == (True, False)
        assert run_validate_train(shell(project), {}, DATA, None) == []
