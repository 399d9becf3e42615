"""Work that scripts do, in the process of a job: a folder is filled, a command runs in it, and all that it leaves is listed."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from modelwire_runners import BaseConfig, RunContext, ShellModelRunner
from modelwire_runners.invoke import PredictionError, checked, parse
from modelwire_runners.project import Content
from modelwire_runners.scripts import LimitReached, ScriptEnd, ScriptError, ScriptFailed, check_size
from modelwire_runners.tables import TableError
from modelwire_runners.workspace import FileEntry, LinkEntry, Stock, WorkFolder, WorkspaceError

from ..artifacts.model import ARROW_STREAM, WORKSPACE, Blob
from ..artifacts.workspace import Workspace, WorkspaceFile, WorkspaceLink
from ..errors import (
    ContentCorrupted,
    ContentTooLarge,
    InvalidPrediction,
    MemoryLimit,
    ModelwireError,
    RunnerExited,
    RunnerFailed,
    RunnerKilled,
    StorageFull,
)
from .content import DISK_FULL, HashedFile, open_content, read_frame, read_json, save_predictions
from .faults import fault_of, to_message
from .interface import JobSpec
from .specs import FOLDER, part_name
from .trained import as_trained, signature_of
from .wire import Message, clip

LIST = "workspace.json"
# Files that the jobs of one server share.
SHARED = "shared"
# So that all fits into one message.
_MAX_OUTPUT, _MAX_TRACEBACK, _MAX_LEFT_OUT = 40 * 1024, 16 * 1024, 20


@dataclass
class ScriptedWork:
    """One training or prediction. `told` is what is known of it so far, for the metadata of what it makes."""

    spec: JobSpec
    runner: ShellModelRunner
    stage: Callable[[str], None]
    context: RunContext
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work = WorkFolder(self.spec.folder / FOLDER, self.spec.folder.parent / SHARED)

    def train(self) -> Message:
        """Returns the message that tells of the workspace, which is the model, or of what went wrong."""

        def run() -> Message:
            self.stage("loading")
            data, config = read_frame(self.spec.frames["data"]), self._config()
            self.work.copy_project(self.runner.project)
            self.stage("training")
            self._keep(self.runner.train_in(self.work, config, data, self._geo(), self.context))
            self.stage("saving")
            message = self._list()
            message["metadata"]["signature"] = signature_of(data, self.runner)
            return message

        return self._attempted(run)

    def predict(self) -> Message:
        """Returns the message that tells of the predictions and of the workspace, or of what went wrong."""

        def run() -> Message:
            self.stage("loading")
            historic, future = read_frame(self.spec.frames["historic"]), read_frame(self.spec.frames["future"])
            config, future = self._config(), as_trained(self.spec, future)
            self._restore()
            self.stage("predicting")
            self._keep(self.runner.predict_in(self.work, config, historic, future, self._geo(), self.context))
            table = checked(self.runner, self.runner.predictions_in(self.work, historic, future), future.num_rows)
            self.stage("saving")
            path = self.spec.folder / "predictions.arrow"
            made = {
                "file": path.name,
                **_content(save_predictions(table, path), ARROW_STREAM),
                "metadata": {"rows": table.num_rows},
            }
            return {**made, "workspace": self._list()} if self.spec.artifact_id else made

        return self._attempted(run)

    def _attempted(self, run: Callable[[], Message]) -> Message:
        """What `run` returns, else an error with what is left to look at."""
        with _sigterm_noticed():
            try:
                return run()
            except Exception as error:
                fault = self._fault(error)
            fault.traceback = fault.traceback and clip(fault.traceback, _MAX_TRACEBACK, keep_end=True)
            message = to_message(fault)
            if not self.spec.artifact_id:
                return message
            try:
                return {**message, "diagnostic": self._list()}
            except Exception as error:
                self.context.log(f"what is left of the work cannot be kept: {error}", "WARNING")
                return message

    def _config(self) -> BaseConfig:
        config: BaseConfig = parse(self.runner, self.spec.config)
        return config

    def _geo(self) -> dict[str, Any] | None:
        return read_json(self.spec.geo) if self.spec.geo else None

    def _restore(self) -> None:
        """Fills the folder with what the training has left."""
        spec = self.spec
        assert spec.model is not None
        assert spec.model_blob is not None
        assert spec.parts is not None
        with open_content(spec.model, spec.model_blob) as file:
            workspace = Workspace.from_json(file.read())
        parts = spec.parts
        try:
            self.work.restore(stock_of(workspace), lambda digest: parts / part_name(digest), self.runner.project.is_shared)
        except (WorkspaceError, FileNotFoundError) as error:
            raise ContentCorrupted(f"the model's workspace cannot be restored: {error}", digest=spec.model_blob.digest) from error

    def _keep(self, end: ScriptEnd) -> None:
        self.told = {
            "exit_code": end.exit_code,
            "stdout": clip(end.stdout, _MAX_OUTPUT, keep_end=True),
            "stderr": clip(end.stderr, _MAX_OUTPUT, keep_end=True),
        }

    def _list(self) -> Message:
        """Lists what the folder holds. Raises RunnerFailed, LimitReached, StorageFull, OSError."""
        if changed := self.work.changed_shared_files():
            names = ", ".join(changed)
            raise RunnerFailed(
                f"a script changed shared files: {names}; files that change must not be `shared`", type="SharedFileChanged"
            )
        stock = self.work.take_stock()
        workspace = workspace_of(stock)
        check_size(workspace.size, self.runner.limits.workspace_bytes)
        path = self.spec.folder / LIST
        with HashedFile(path) as file:
            file.write(workspace.to_json())
        metadata: dict[str, Any] = {"workspace_bytes": workspace.size, "workspace_files": len(workspace.files), **self.told}
        if stock.left_out:
            metadata["left_out"] = [clip(why, 300) for why in stock.left_out[:_MAX_LEFT_OUT]]
        return {"file": path.name, **_content(file.blob, WORKSPACE), "metadata": metadata}

    def _fault(self, error: Exception) -> ModelwireError:
        if isinstance(error, ScriptError):
            self._keep(error.end)
        match error:
            case ScriptFailed():
                return self._failed(error)
            case LimitReached():
                return _beyond(error)
            case WorkspaceError():
                return RunnerFailed(self._with_place(str(error)), type=type(error).__name__, message=error)
            case TableError():
                return InvalidPrediction(self._with_place(str(error)), rule="type")
            case PredictionError():
                return InvalidPrediction(self._with_place(str(error)), rule=error.rule)
            case OSError(errno=number) if number in DISK_FULL:
                return StorageFull("there is no space left for the workspace")
            case _:
                return fault_of(error, None)

    def _failed(self, error: ScriptFailed) -> ModelwireError:
        message, killed_by = error.explain(*self._place()), error.end.signal
        return RunnerKilled(message, signal=killed_by) if killed_by else RunnerExited(message, exit_code=error.end.exit_code)

    def _with_place(self, message: str) -> str:
        return "; ".join([message, *self._place()])

    def _place(self) -> list[str]:
        """Where to find more."""
        artifact = self.spec.artifact_id
        return [f"diagnostic artifact {artifact} holds the workspace, stdout and stderr"] if artifact else []


def workspace_of(stock: Stock) -> Workspace:
    files = (
        WorkspaceFile(file.path, file.content.digest, file.content.size, file.mode, file.content.crc32) for file in stock.files
    )
    return Workspace(tuple(files), tuple(WorkspaceLink(link.path, link.target) for link in stock.links), tuple(stock.folders))


def stock_of(workspace: Workspace) -> Stock:
    files = (FileEntry(file.path, Content(file.digest, file.size, file.crc32), file.mode) for file in workspace.files)
    return Stock(tuple(files), tuple(LinkEntry(link.path, link.target) for link in workspace.links), tuple(workspace.folders))


def _content(blob: Blob, content_type: str) -> dict[str, Any]:
    return {"digest": blob.digest, "size": blob.size, "content_type": content_type}


def _beyond(error: LimitReached) -> ModelwireError:
    match error.limit:
        case "memory_bytes":
            return MemoryLimit(str(error), limit=error.value)
        case "cpu_seconds":
            return RunnerKilled(str(error), signal=signal.SIGXCPU.name)
        case _:
            return ContentTooLarge(str(error), limit=error.value)


@contextmanager
def _sigterm_noticed() -> Iterator[None]:
    """SIGTERM comes when the work was asked to stop already; what it has left is to be listed before the end."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
