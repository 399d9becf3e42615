"""The runner whose training and prediction are scripts, in whatever language."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from .adapters import adapt
from .commands import CONFIG, GEO, OUTPUT, PREDICT_FILES, TRAIN_FILES, Command
from .config import BaseConfig
from .config_files import config_yaml
from .context import RunContext
from .info import ArtifactHierarchy, RetryPolicy, RunnerInfo, RunnerLimits, slug
from .project import Project
from .runner import BaseModelRunner
from .scripts import Script, ScriptEnd, ScriptFailed, allowed, run_script
from .tables import TableError, read_arrow, read_csv, write_arrow, write_csv
from .workspace import Stock, WorkFolder, WorkspaceError

Geo = dict[str, Any] | None
_LEVELS = {0: "ml_training", 1: "ml_prediction", 2: "ml_prediction_workspace"}
# Longer than this the kernel takes no variable.
_LONGEST_VARIABLE = 100_000


class OutputMissing(WorkspaceError):
    """A predict script ended well and left no predictions."""


@dataclass(frozen=True, slots=True)
class TrainedWorkspace:
    """The model of a script: all that is in its folder."""

    root: Path
    stock: Stock


class ShellModelRunner(BaseModelRunner[BaseConfig]):
    """A runner made of two commands for `sh -c`. Each runs in a folder of its own, a copy of the project.

    Commands may hold `{config_file}`, `{data_file}`, `{model_file}`, `{geo_file}` (training) and `{config_file}`, `{model_file}`,
    `{historic_file}`, `{future_file}`, `{output_file}`, `{geo_file}` (prediction), which stand for names of files in that folder;
    any other brace is written twice. The folder after a training is the model: a prediction gets it back.

    `project` is the folder to copy, by default that of the module that makes the runner; `ignore` are patterns, as in a .gitignore
    file, of what is not copied, beside those in its file .modelwireignore. `shared` are patterns of files that no script changes:
    workspaces hold read-only links to one copy. `adapters` adds columns to all tables for the script: new name to the name of a
    column, or to year, month or week of `time_period`. `config_format` is the layout of config.yml.

    Raises ValueError for unknown placeholders, and for a project that is no folder.
    """

    def __init__(
        self,
        train_command: str,
        predict_command: str,
        *,
        config_schema: type[BaseConfig] = BaseConfig,
        info: RunnerInfo | None = None,
        hierarchy: ArtifactHierarchy | None = None,
        limits: RunnerLimits | None = None,
        retry: RetryPolicy | None = None,
        max_concurrency: int | None = None,
        max_pending: int | None = None,
        on_validate_train: Callable[..., Any] | None = None,
        on_validate_predict: Callable[..., Any] | None = None,
        config_format: Literal["flat", "chap_core"] = "flat",
        adapters: Mapping[str, str] | None = None,
        project: str | os.PathLike[str] | None = None,
        ignore: Sequence[str] = (),
        shared: Sequence[str] = (),
        same_rows: bool = True,
        prediction_columns: list[str] | None = None,
    ) -> None:
        caller = sys._getframe(1).f_globals
        self._functions = {"on_validate_train": on_validate_train, "on_validate_predict": on_validate_predict}
        self._train = Command("train_command", train_command, TRAIN_FILES)
        self._predict = Command("predict_command", predict_command, PREDICT_FILES)
        self.config_schema = config_schema
        self.info = info or RunnerInfo(id=slug(str(caller.get("__name__", "model"))))
        self.hierarchy = hierarchy or ArtifactHierarchy(level_labels=_LEVELS)
        self.limits = limits or RunnerLimits()
        self.retry = retry or RetryPolicy()
        self.max_concurrency = max_concurrency
        self.max_pending = max_pending
        self.config_format: Literal["flat", "chap_core"] = config_format
        self.adapters = dict(adapters or {})
        self.same_rows = same_rows
        self.prediction_columns = prediction_columns or []  # type: ignore[misc]
        self.project = Project(_folder(project, caller), tuple(ignore), tuple(shared))
        if config_format not in ("flat", "chap_core"):
            raise ValueError(f"config_format must be flat or chap_core, not {config_format!r}")

    def prepare(self, private: Sequence[Path] = ()) -> None:
        """Gets to know the project's files once for all jobs. `private` are files and folders that no script may see."""
        self.project.index(private)

    def train_in(self, work: WorkFolder, config: BaseConfig, data: pa.Table, geo: Geo, context: RunContext) -> ScriptEnd:
        """Runs the train command in a workspace that holds the project. Raises ScriptError, WorkspaceError, OSError."""
        self._write_config(work, config)
        self._write_table(work, "data", data)
        return self._run("train", self._train, work, geo, context)

    def predict_in(
        self, work: WorkFolder, config: BaseConfig, historic: pa.Table, future: pa.Table, geo: Geo, context: RunContext
    ) -> ScriptEnd:
        """Runs the predict command in a workspace that holds what a training has left. Raises ScriptError, WorkspaceError, OSError."""
        for name in _OUTPUTS:
            work.place(name)
        self._write_config(work, config)
        self._write_table(work, "historic", historic)
        self._write_table(work, "future", future)
        return self._run("predict", self._predict, work, geo, context)

    def predictions_in(self, work: WorkFolder, historic: pa.Table, future: pa.Table) -> pa.Table:
        """What a predict command has written: predictions.csv, with the types of the columns that its input had too, else
        predictions.arrow. Raises OutputMissing, TableError."""
        for name in _OUTPUTS:
            path = work.root / name
            if path.is_file():
                try:
                    return read_csv(path, _known(future, historic)) if name == OUTPUT else read_arrow(path)
                except TableError as error:
                    raise TableError(f"the predict script wrote {name}, but {error}") from error
        raise OutputMissing(f"the predict script did not write {OUTPUT}")

    def on_train(self, config: BaseConfig, data: pa.Table, geo: Geo = None, context: RunContext | None = None) -> TrainedWorkspace:
        """Trains in a folder below the context's, or in a temporary one that is left to the caller."""
        context = context or RunContext()
        work = WorkFolder(_new_folder(context))
        work.copy_project(self.project)
        self.train_in(work, config, data, geo, context)
        return TrainedWorkspace(work.root, work.take_stock())

    def on_predict(
        self,
        config: BaseConfig,
        model: TrainedWorkspace,
        historic: pa.Table,
        future: pa.Table,
        geo: Geo = None,
        context: RunContext | None = None,
    ) -> pa.Table:
        """Predicts in a copy of the model's folder."""
        context = context or RunContext()
        work = WorkFolder(_new_folder(context))
        paths = {file.content.digest: model.root / file.path for file in model.stock.files}
        work.restore(model.stock, paths.__getitem__, self.project.is_shared)
        self.predict_in(work, config, historic, future, geo, context)
        return self.predictions_in(work, historic, future)

    def function(self, name: str) -> Callable[..., Any]:
        return self._functions.get(name) or super().function(name)

    def overrides(self, name: str) -> bool:
        return bool(self._functions.get(name)) or super().overrides(name)

    def _write_config(self, work: WorkFolder, config: BaseConfig) -> None:
        work.place(CONFIG).write_bytes(config_yaml(config, self.config_format))

    def _write_table(self, work: WorkFolder, name: str, table: pa.Table) -> None:
        table = adapt(table, self.adapters)
        write_csv(table, work.place(f"{name}.csv"))
        write_arrow(table, work.place(f"{name}.arrow"))

    def _run(self, what: str, command: Command, work: WorkFolder, geo: Geo, context: RunContext) -> ScriptEnd:
        if geo is not None:
            work.place(GEO).write_text(json.dumps(geo, ensure_ascii=False), encoding="utf-8")
        progress = work.root.with_name("progress.jsonl")
        script = Script(
            command=command.filled(geo=geo is not None),
            folder=work.root,
            progress=progress,
            environment={**allowed(os.environ, self.limits.environment), **_told(context, progress)},
            limits=self.limits,
            size=work.size,
        )
        work.hand_over()
        end = run_script(script, context)
        if end.exit_code:
            raise ScriptFailed(what, end, self._hint())
        return end

    def _hint(self) -> str:
        limit = self.limits.memory_bytes
        return "" if limit is None else f", perhaps since it may use only {limit} bytes of memory"


_OUTPUTS = (OUTPUT, "predictions.arrow")


def _told(context: RunContext, progress: Path) -> dict[str, str]:
    """What a script is told by variables."""
    told = {"MODELWIRE_JOB_ID": context.job_id, "MODELWIRE_PROGRESS_FILE": str(progress.absolute())}
    run_info = json.dumps(context.run_info, sort_keys=True, default=str)
    if len(run_info) < _LONGEST_VARIABLE:
        told["MODELWIRE_RUN_INFO"] = run_info
    if context.deadline is not None:
        told["MODELWIRE_DEADLINE"] = context.deadline.isoformat()
    return told


def _folder(project: str | os.PathLike[str] | None, caller: Mapping[str, Any]) -> Path:
    file = caller.get("__file__")
    folder = Path(project or (Path(file).parent if file else Path.cwd()))
    if not folder.is_dir():
        raise ValueError(f"project: {folder} is no folder")
    return folder.resolve()


def _new_folder(context: RunContext) -> Path:
    return Path(tempfile.mkdtemp(dir=context.folder, prefix="modelwire-")) / "workspace"


def _known(*tables: pa.Table) -> pa.Schema:
    """Columns by name; where several tables have one, the first counts."""
    fields: dict[str, pa.Field] = {}
    for table in tables:
        for field in table.schema:
            fields.setdefault(field.name, field)
    return pa.schema(list(fields.values()))
